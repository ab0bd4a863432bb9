"""Masks of writing, to train on: lines of letters drawn at random, white where a picture is missing.

python plugins/sair/studies/writing.py MASKS [--number 600] [--side 96]

The fonts are Pillow's own and matplotlib's. No word is one; the tests' sentence is not among them.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

LETTERS = "aaabcdeeeefghiiijklmnnnooopqrrrsssttttuuvwxyz"
FONTS = ("DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono")


def word(draw: random.Random) -> str:
    """Two to nine letters, some of them capitals."""
    letters = "".join(draw.choice(LETTERS) for _ in range(draw.randint(2, 9)))
    return letters.capitalize() if draw.random() < 0.3 else letters


def mask(side: int, draw: random.Random) -> Image.Image:
    """Lines of one size over a square of ``side`` pixels, a few or many."""
    canvas = Image.new("L", (side, side))
    height = draw.randint(max(8, side // 12), side // 5)
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont
    if draw.random() < 0.5:
        font = ImageFont.load_default(height)
    else:
        font = ImageFont.truetype(font_manager.findfont(draw.choice(FONTS)), height)
    pen, y = ImageDraw.Draw(canvas), draw.randint(-height // 2, side // 3)
    while y < side:
        line = " ".join(word(draw) for _ in range(12))
        pen.text((draw.randint(-height * 3, height), y), line, fill=255, font=font, stroke_width=draw.choice((0, 0, 1)))
        y += round(height * draw.uniform(1.1, 2.2))
    return canvas.point(lambda value: 255 * (value > 127))


def main() -> None:
    """Draw and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("masks", type=Path)
    parser.add_argument("--number", type=int, default=600)
    parser.add_argument("--side", type=int, default=96, help="pixels")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    arguments.masks.mkdir(parents=True, exist_ok=True)
    for number in range(arguments.number):
        mask(arguments.side, draw).save(arguments.masks / f"{number:04}.png")


if __name__ == "__main__":
    main()

"""How often `inpaint` is right to take its model or the solver, and what that is worth, in dB in the hole.

python plugins/sair/studies/choosing.py FOLDER [--size 88] [--kinds 5-20 20-40 40-60 text] [--pictures 30]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import implicitkit as ik
from implicitkit.images import picture_files
from implicitkit_sair import inpaint
from implicitkit_sair.inpainting.choice import choose

SENTENCE = "Pack my box with five dozen liquor jugs. " * 8


def text(size: tuple[int, int], seed: int) -> Tensor:
    """Lines of writing over a picture, as a mask ``(1, H, W)``; the letters are Pillow's own."""
    canvas, random = Image.new("L", (size[1], size[0])), np.random.default_rng(seed)
    draw, height = ImageDraw.Draw(canvas), max(10, size[0] // 12)
    for top in range(0, size[0], int(1.6 * height)):
        place = (int(random.integers(-4 * height, 2)), top)
        draw.text(place, SENTENCE, fill=255, font=ImageFont.load_default(height), stroke_width=height // 20)
    return torch.from_numpy(np.array(canvas) > 127).float()[None]


def hole(kind: str, size: tuple[int, int], seed: int) -> Tensor:
    """A mask of writing, or of strokes that cover ``LOW-HIGH`` percent."""
    if kind == "text":
        return text(size, seed)
    ratio = [float(end) / 100 for end in kind.split("-")]
    strokes = ik.create_degradation({"name": "inpainting", "kind": "strokes", "ratio": ratio})
    return strokes(torch.zeros(3, *size), torch.Generator().manual_seed(seed)).mask


def main() -> None:
    """Print a row for each kind of hole."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--model", default="sair_faces")
    parser.add_argument("--size", type=int, default=88, help="the middle square of so many pixels")
    parser.add_argument("--kinds", nargs="+", default=["5-20", "20-40", "40-60", "text"])
    parser.add_argument("--pictures", type=int, default=30)
    arguments = parser.parse_args()
    model = ik.load_model(arguments.model)
    files = picture_files(arguments.folder)[: arguments.pictures]
    heads = [
        "holes",
        "solver",
        "model",
        "chosen",
        "better of both",
        "model better",
        "model taken",
        "right",
        "lost, worst",
    ]
    print(f"| {' | '.join(heads)} | s a choice |\n|{'---|' * (len(heads) + 1)}")
    for kind in arguments.kinds:
        rows, seconds = [], 0.0
        for seed, file in enumerate(files):
            picture = ik.read_image(file)
            top, left = (max(0, (n - arguments.size) // 2) for n in picture.shape[1:])
            picture = picture[:, top : top + arguments.size, left : left + arguments.size].expand(3, -1, -1)
            mask = hole(kind, tuple(picture.shape[1:]), seed)  # type: ignore[arg-type]
            start = time.process_time()
            choice = choose({"model": model, "solver": "biharmonic"}, picture, mask)
            seconds += time.process_time() - start
            errors = [
                (inpaint(method, picture, mask) - picture)[:, mask[0] > 0.5].double().square().mean()
                for method in ("biharmonic", model)
            ]
            rows.append(
                [
                    *(-10 * float(error.log10()) for error in errors),
                    choice.taken == "model",
                    choice.psnr["model"] - choice.psnr["solver"],
                ]
            )
        solver, ours, taken, gaps = np.array(rows, float).T
        chosen, best = np.where(taken > 0, ours, solver), np.maximum(ours, solver)
        means = [f"{values.mean():.2f}" for values in (solver, ours, chosen, best)]
        counts = [int((ours > solver).sum()), int(taken.sum()), int((chosen == best).sum())]
        cells = [kind, *means, *(f"{count} of {len(rows)}" for count in counts), f"{(best - chosen).max():.2f}"]
        print(f"| {' | '.join(cells)} | {seconds / len(rows):.2f} |", flush=True)
        print([f"{g:+.1f}/{o - s:+.1f}" for g, o, s in zip(gaps, ours, solver, strict=True)], flush=True)


if __name__ == "__main__":
    main()

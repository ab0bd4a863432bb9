"""What `inpaint` gains by its test on held-out copies of the holes, and how often a solver alone would be better.

python plugins/sair/studies/choosing.py FOLDER [--size 88] [--whole] [--kinds 5-20 20-40 40-60 text] [--pictures 30]
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
from implicitkit.images.resize import resize
from implicitkit_sair import inpaint
from implicitkit_sair.inpainting.choice import choose
from implicitkit_sair.models import CANDIDATES, default_models

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


def middle(picture: Tensor, size: int, shrink: bool) -> Tensor:
    """The middle square of ``size`` pixels, of the picture shrunk so that it just covers that if ``shrink``."""
    if shrink:
        factor = size / min(picture.shape[1:])
        picture = resize(picture, tuple(max(size, round(n * factor)) for n in picture.shape[1:])).clamp(0, 1)
    top, left = (max(0, (n - size) // 2) for n in picture.shape[1:])
    return picture[:, top : top + size, left : left + size].expand(3, -1, -1)


def gain(gaps: np.ndarray) -> str:
    """The mean of differences in dB, and how many holes are worse, by how much at most."""
    return (
        f"{gaps.mean():+.2f}; {int((gaps < -0.05).sum())} worse by more than 0.05, at most {max(0.0, -gaps.min()):.2f}"
    )


def main() -> None:
    """Print a table for each kind of hole."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--size", type=int, default=88, help="the middle square of so many pixels")
    parser.add_argument("--whole", action="store_true", help="shrink each picture to the size, not crop its middle")
    parser.add_argument("--kinds", nargs="+", default=["5-20", "20-40", "40-60", "text"])
    parser.add_argument("--pictures", type=int, default=30)
    arguments = parser.parse_args()
    painters = {name: name if name in CANDIDATES else ik.load_model(name) for name in (*default_models(), *CANDIDATES)}
    files = picture_files(arguments.folder)[: arguments.pictures]
    for kind in arguments.kinds:
        rows: dict[str, list[float]] = {}
        seconds = 0.0
        for seed, file in enumerate(files):
            picture = middle(ik.read_image(file), arguments.size, arguments.whole)
            mask = hole(kind, tuple(picture.shape[1:]), seed)  # type: ignore[arg-type]
            start = time.process_time()
            choice = choose(painters, picture, mask)
            seconds += time.process_time() - start
            answers = {name: inpaint(painter, picture, mask) for name, painter in painters.items()}
            shares = choice.mixture or {choice.fallback: 1.0}
            alone = max(choice.psnr, key=lambda name: choice.psnr[name]) if choice.psnr else choice.fallback
            found = dict(answers)
            found["the best in the test alone"] = answers[alone]
            found["the mixture (inpaint)"] = torch.stack([s * answers[name] for name, s in shares.items()]).sum(0)
            for name, answer in found.items():
                error = (answer - picture)[:, mask[0] > 0.5].double().square().mean()
                rows.setdefault(name, []).append(-10 * float(error.clamp(min=1e-10).log10()))
        rivals = {"the better solver": np.max([rows[name] for name in CANDIDATES], axis=0)}
        rivals |= {name: np.array(rows[name]) for name in CANDIDATES}
        heads = " | ".join(f"minus {name}" for name in rivals)
        print(f"\n| {kind}, {len(files)} holes, {seconds / len(files):.1f} s a choice | dB | {heads} |")
        print("|---|" + "---|" * (1 + len(rivals)))
        for name, values in rows.items():
            beside = " | ".join(gain(np.array(values) - rival) for rival in rivals.values())
            print(f"| {name} | {np.mean(values):.2f} | {beside} |", flush=True)


if __name__ == "__main__":
    main()

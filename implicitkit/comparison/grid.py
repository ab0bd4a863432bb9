"""A sheet of pictures: what the models saw, what each made of it, and the truth; chosen by a rule, not by eye."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from implicitkit.comparison.sheets import MARGIN
from implicitkit.files import replacing
from implicitkit.images.io import Pixels, to_pixels, to_tensor

SMALLEST, LARGEST = 160, 384  # pixels a side of a picture on the sheet
NAMES = {0.0: "best", 0.5: "median", 1.0: "worst"}


def choose(gains: Mapping[str, float], rows: int) -> list[tuple[str, str]]:
    """Pictures spread evenly over the sorted gains, the best first: for three rows the best, the median, the worst.

    Args:
        gains: picture -> gain.
        rows: how many to choose; all where there are fewer.

    Returns:
        (what it is, picture).
    """
    ranked = sorted(gains, key=lambda picture: (-gains[picture], picture))
    rows = min(rows, len(ranked))
    if rows == 1:
        return [("median gain", ranked[len(ranked) // 2])]
    chosen = []
    for k in range(rows):
        share = k / (rows - 1)
        name = NAMES.get(share, f"{round(100 * (1 - share))} %")
        chosen.append((f"{name} gain", ranked[round(share * (len(ranked) - 1))]))
    return chosen


def read_pictures(file: Path, setting: str, picture: str) -> dict[str, Pixels] | None:
    """What was kept of one picture: ``seen`` (enlarged to the truth's size), ``prediction`` and ``truth``."""
    with np.load(file) as stored:
        prefix = f"{setting}|{picture}|"
        held = {name.removeprefix(prefix): stored[name] for name in stored.files if name.startswith(prefix)}
    if "truth" not in held:
        return None
    full = [int(n) for n in held.pop("full")]
    held["seen"] = _aligned(held["seen"], full, held["truth"].shape[:2])
    return held


def draw_grid(rows: Sequence[Sequence[tuple[str, Pixels]]], titles: Sequence[str], file: Path) -> None:
    """Write a sheet: a row per picture, each panel under its label, each row under its title."""
    from PIL import Image, ImageDraw, ImageFont

    font, small = ImageFont.load_default(size=16), ImageFont.load_default(size=13)
    line = 22
    drawn = [[(label, _sized(pixels)) for label, pixels in row] for row in rows]
    heights = [max(p.shape[0] for _, p in row) for row in drawn]
    widths = [sum(p.shape[1] + MARGIN for _, p in row) for row in drawn]
    canvas = Image.new("RGB", (MARGIN + max(widths), MARGIN + sum(h + 2 * line + MARGIN for h in heights)), "white")
    draw = ImageDraw.Draw(canvas)
    top = MARGIN
    for row, title, height in zip(drawn, titles, heights, strict=True):
        draw.text((MARGIN, top), title, fill="black", font=font)
        left = MARGIN
        for label, pixels in row:
            draw.text((left, top + line + 2), label, fill="#444444", font=small)
            canvas.paste(Image.fromarray(pixels), (left, top + 2 * line))
            left += pixels.shape[1] + MARGIN
        top += height + 2 * line + MARGIN
    with replacing(file) as temporary:
        canvas.save(temporary)


def _aligned(seen: Pixels, full: Sequence[int], wanted: Sequence[int]) -> Pixels:
    """``seen`` enlarged (nearest pixel) to ``full``, and its middle of size ``wanted``: protocols shave borders."""
    rows, columns = ((np.arange(n) + 0.5) * m // n for n, m in zip(full, seen.shape, strict=False))
    large = seen[rows.astype(np.int64)[:, None], columns.astype(np.int64)[None, :]]
    top, left = ((n - m) // 2 for n, m in zip(full, wanted, strict=True))
    aligned: Pixels = large[top : top + wanted[0], left : left + wanted[1]]
    return aligned


def _sized(pixels: Pixels) -> Pixels:
    """Small pictures enlarged by whole pixels, so that they stay what they are; large ones shrunk."""
    side = max(pixels.shape[:2])
    if side <= LARGEST:
        factor = max(1, math.ceil(SMALLEST / side))
        return pixels.repeat(factor, 0).repeat(factor, 1)
    size = [max(1, round(n * LARGEST / side)) for n in pixels.shape[:2]]
    image = to_tensor(pixels)[None]
    shrunk: Tensor = torch.nn.functional.interpolate(image, size, mode="bilinear", antialias=True)
    return to_pixels(shrunk[0].clamp(0, 1))

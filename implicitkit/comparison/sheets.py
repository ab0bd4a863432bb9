"""Pictures side by side, labelled: what a person looks at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from implicitkit.evaluation import bicubic, make_pair
from implicitkit.images.io import to_pixels, to_tensor
from implicitkit.metrics import psnr_y
from implicitkit.model import ImplicitModel

PHOTO = Path(str(files("implicitkit"))) / "assets" / "astronaut.png"  # NASA, public domain
MARGIN = 8


def compare_upscaling(
    model: ImplicitModel, clean: Tensor, scale: float, *, name: str = "model"
) -> tuple[Tensor, dict[str, float]]:
    """Shrink ``clean`` ``(3, H, W)`` by ``scale``, enlarge it again, and lay out bicubic, model and truth.

    Returns:
        The labelled sheet ``(3, H', W')`` (whole pictures above, an enlarged detail below) and the PSNR-Y of each
        method, dB.
    """
    pair = make_pair("photo", clean, scale)
    size = (pair.clean.shape[1], pair.clean.shape[2])
    panels = {"bicubic": bicubic(pair.low, size).clamp(0, 1), name: model.encode(pair.low).render(size).cpu()}
    scores = {method: psnr_y(picture, pair.clean, shave=math.ceil(scale)) for method, picture in panels.items()}
    labels = [f"{method}  {scores[method]:.2f} dB" for method in panels] + ["truth"]
    pictures = [*panels.values(), pair.clean]
    detail = _busiest(pair.clean, side=max(8, min(size) // 4))
    zoomed = [_enlarge(picture[(slice(None), *detail)], min(size)) for picture in pictures]
    title = f"{pair.low.shape[1]} x {pair.low.shape[2]} to {size[0]} x {size[1]} pixels, factor {scale:g}"
    first = sheet(pictures, labels, title)
    second = sheet(zoomed, ["detail"] * len(zoomed))
    width = max(first.shape[2], second.shape[2])
    rows = [torch.nn.functional.pad(row, (0, width - row.shape[2]), value=1.0) for row in (first, second)]
    return torch.cat(rows, dim=1), scores


def sheet(pictures: Sequence[Tensor], labels: Sequence[str], title: str = "") -> Tensor:
    """Pictures ``(3, H, W)`` in a row on white, each under its label."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=18)
    line = 26
    top = MARGIN + (line if title else 0) + line
    width = MARGIN + sum(p.shape[2] + MARGIN for p in pictures)
    height = top + max(p.shape[1] for p in pictures) + MARGIN
    canvas = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(canvas)
    if title:
        draw.text((MARGIN, MARGIN), title, fill="black", font=font)
    left = MARGIN
    for picture, label in zip(pictures, labels, strict=True):
        draw.text((left, top - line), label, fill="black", font=font)
        canvas.paste(Image.fromarray(to_pixels(picture)), (left, top))
        left += picture.shape[2] + MARGIN
    return to_tensor(np.asarray(canvas))


def _busiest(picture: Tensor, side: int) -> tuple[slice, slice]:
    """The square of ``side`` pixels with the most detail, where methods differ most."""
    grey = picture.mean(0, keepdim=True)[None]
    energy = torch.zeros_like(grey)
    energy[..., 1:, 1:] = (grey[..., 1:, 1:] - grey[..., :-1, 1:]).abs() + (
        grey[..., 1:, 1:] - grey[..., 1:, :-1]
    ).abs()
    pooled = torch.nn.functional.avg_pool2d(energy, side, stride=max(1, side // 4))[0, 0]
    best = int(pooled.argmax())
    y, x = (k * max(1, side // 4) for k in divmod(best, pooled.shape[1]))
    return slice(y, y + side), slice(x, x + side)


def _enlarge(picture: Tensor, side: int) -> Tensor:
    """Nearest-neighbour enlargement, so that pixels stay visible."""
    factor = max(1, side // picture.shape[1])
    return picture.repeat_interleave(factor, 1).repeat_interleave(factor, 2)

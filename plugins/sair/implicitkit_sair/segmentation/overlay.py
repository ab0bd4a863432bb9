"""A label map laid over its picture, with a legend."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from implicitkit.images import Picture, to_pixels

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

SMALLEST_SIDE = 320  # pixels of a panel's longer side; smaller ones are enlarged by a whole number, or no legend fits
INK, PAPER = (20, 20, 20), (255, 255, 255)
HUES = 48


@dataclass(frozen=True)
class Panel:
    """One label map to draw: ``(H, W)``, with a title above it."""

    title: str
    labels: Tensor


def palette(count: int) -> list[tuple[int, int, int]]:
    """``count`` colours: each is the one farthest from all before it, so that the first ones differ most.

    They come back from the start when there are no more (192).
    """
    ranked = _ranked_colours()
    return [ranked[k % len(ranked)] for k in range(count)]


@cache
def _ranked_colours() -> list[tuple[int, int, int]]:
    """All colours there are, neither grey nor nearly black, by farthest-point sampling in RGB."""
    shades = ((0.9, 0.95), (0.9, 0.55), (0.5, 0.95), (0.5, 0.65))
    rgb = [colorsys.hsv_to_rgb(hue / HUES, *shade) for shade in shades for hue in range(HUES)]
    candidates = np.round(np.array(rgb) * 255)
    order = [0]
    distance = np.linalg.norm(candidates - candidates[0], axis=1)
    while len(order) < len(candidates):
        order.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(candidates - candidates[order[-1]], axis=1))
    return [(int(red), int(green), int(blue)) for red, green, blue in candidates[order]]


def paint(picture: Tensor, labels: Tensor, opacity: float) -> Tensor:
    """``picture`` ``(3, H, W)`` in [0, 1] under its classes' colours, dark lines where two classes meet."""
    labels = labels.cpu()
    colours = torch.tensor(palette(int(labels.max()) + 1), dtype=torch.float32) / 255
    painted = torch.lerp(picture.cpu(), colours[labels].movedim(-1, 0), opacity)
    edge = torch.zeros_like(labels, dtype=torch.bool)
    edge[:-1] |= labels[:-1] != labels[1:]
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    return torch.where(edge, painted * 0.35, painted)


def draw_overlay(picture: Tensor, panels: Sequence[Panel], names: Sequence[str], opacity: float = 0.55) -> Picture:
    """Panels side by side and, right of them, the classes that any of them shows, with their share of the pixels.

    Args:
        picture: ``(3, H, W)`` in [0, 1], what lies under the colours.
        panels: label maps of its size.
        names: of the classes.
        opacity: of the colours, in [0, 1].
    """
    from PIL import Image, ImageDraw

    longest = max(picture.shape[1:])
    factor = max(1, -(-SMALLEST_SIDE // longest))
    tiles = [to_pixels(paint(picture, panel.labels, opacity)).repeat(factor, 0).repeat(factor, 1) for panel in panels]
    height, width = tiles[0].shape[:2]
    text = max(14, min(36, longest * factor // 32))
    font, gap, line = _font(text), text // 2, round(text * 1.6)
    rows = legend(panels, names)
    top = line + gap if any(panel.title for panel in panels) else 0
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    column = line + gap + max(round(measure.textlength(row, font=font)) for _, row in rows) + gap
    fitting = max(1, (max(height, line * min(len(rows), 8)) - gap) // line)
    columns = -(-len(rows) // fitting)
    canvas = Image.new(
        "RGB",
        (len(tiles) * (width + gap) + columns * column, top + max(height, fitting * line + gap)),
        PAPER,
    )
    draw = ImageDraw.Draw(canvas)
    for k, (panel, tile) in enumerate(zip(panels, tiles, strict=True)):
        left = k * (width + gap)
        draw.text((left + gap, gap // 2), _shortened(panel.title, width - gap, font, draw), fill=INK, font=font)
        canvas.paste(Image.fromarray(tile), (left, top))
    for k, (chosen, row) in enumerate(rows):
        x = len(tiles) * (width + gap) + k // fitting * column
        y = top + gap // 2 + k % fitting * line
        if chosen is not None:
            swatch = (x, y + line // 8, x + line - gap, y + line - line // 8)
            draw.rectangle(swatch, fill=palette(chosen + 1)[chosen], outline=INK)
        draw.text((x + line, y + line // 2), row, fill=INK, font=font, anchor="lm")
    return Picture(np.asarray(canvas))


def legend(panels: Sequence[Panel], names: Sequence[str]) -> list[tuple[int | None, str]]:
    """A row per class that a panel shows, the largest first: the class, and its name with its share in each panel.

    Classes that nothing was called are counted in a last row, which belongs to no class.
    """
    shares = [
        torch.bincount(p.labels.flatten().cpu(), minlength=len(names)).double() / p.labels.numel() for p in panels
    ]
    order = torch.stack(shares).sum(0).argsort(descending=True, stable=True).tolist()
    shown = [k for k in order if any(share[k] > 0 for share in shares)]
    rows: list[tuple[int | None, str]] = [
        (k, f"{names[k]}  {' / '.join(f'{float(share[k]):.1%}' for share in shares)}") for k in shown
    ]
    absent = [names[k] for k in range(len(names)) if k not in shown]
    if absent:
        rows.append((None, f"nowhere: {', '.join(absent)}" if len(absent) <= 3 else f"nowhere: {len(absent)} others"))
    return rows


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _shortened(
    title: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, draw: ImageDraw.ImageDraw
) -> str:
    """``title``, cut so that it is at most ``width`` pixels wide."""
    while title and draw.textlength(title, font=font) > width:
        title = title[:-2] + "…" if len(title) > 2 else ""
    return title

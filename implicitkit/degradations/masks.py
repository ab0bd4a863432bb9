"""Masks with an exact number of missing pixels: strokes, boxes, scattered pixels, rectangles, halves.

A pixel belongs to a shape if its centre does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
"""``(H, W)``, True where a pixel is missing."""

SIDES = ("left", "right", "top", "bottom")
MAX_SHAPES = 2000  # far more than any mask needs


@dataclass(frozen=True)
class Bin:
    """A range of hole ratios, both ends included, in exact fractions: 0.3 of 10 pixels is 3.

    >>> Bin.of(0.2, 0.3).nearest_count(0.5, size=(2, 5))
    3
    """

    low: Fraction = Fraction(0)
    high: Fraction = Fraction(1)

    @classmethod
    def of(cls, low: float, high: float) -> Bin:
        """The bin between two numbers, read as decimals."""
        return cls(Fraction(repr(float(low))), Fraction(repr(float(high))))

    def __str__(self) -> str:
        return f"{float(self.low):g} to {float(self.high):g}"

    def complement(self) -> Bin:
        """The ratios of known pixels."""
        return Bin(1 - self.high, 1 - self.low)

    def counts(self, pixels: int) -> tuple[int, int]:
        """The smallest and largest number of missing pixels out of ``pixels``; the smallest is larger if none fits."""
        return math.ceil(self.low * pixels), math.floor(self.high * pixels)

    def holds(self, mask: Mask) -> bool:
        """Whether the mask's ratio lies inside."""
        return self.low * mask.size <= int(mask.sum()) <= self.high * mask.size

    def nearest_count(self, target: float, size: tuple[int, ...]) -> int:
        """The number of missing pixels inside the bin that is nearest to the ratio ``target``.

        Raises:
            ValueError: no whole number of pixels lies in the bin.
        """
        low, high = self.counts(math.prod(size))
        if low > high:
            sides = "×".join(map(str, reversed(size)))
            raise ValueError(
                f"no whole number of missing pixels in a picture of {sides} pixels gives a hole ratio from "
                f"{self}; make the bin wider or the picture larger"
            )
        return min(max(round(target * math.prod(size)), low), high)


@dataclass(frozen=True)
class Shape:
    """Pixels of a window of the picture, and the order in which to use them."""

    rows: slice
    columns: slice
    inside: Mask
    order: NDArray[np.float64]


def cover(size: tuple[int, int], count: int, shapes: Iterable[Shape]) -> Mask:
    """Draw ``shapes`` until exactly ``count`` pixels are covered; the last shape is cut."""
    mask: Mask = np.zeros(size, dtype=bool)
    missing = count
    for shape in islice(shapes, MAX_SHAPES):
        view = mask[shape.rows, shape.columns]
        rows, columns = np.nonzero(shape.inside & ~view)
        if rows.size > missing:
            first = np.argsort(shape.order[rows, columns], kind="stable")[:missing]
            rows, columns = rows[first], columns[first]
        view[rows, columns] = True
        missing -= rows.size
        if missing == 0:
            break
    return adjust(mask, count)


def adjust(mask: Mask, count: int) -> Mask:
    """``mask`` grown or eroded, layer by layer, until exactly ``count`` pixels are missing; of the last layer, use the
    pixels nearest to its first.
    """
    mask = mask.copy()
    while (missing := count - int(mask.sum())) != 0:
        growing = mask if missing > 0 else ~mask  # to erode, grow the known pixels
        rows, columns = np.nonzero(_grown(growing) & ~growing)
        if rows.size == 0:  # an empty mask: begin in the middle
            rows, columns = np.array([mask.shape[0] // 2]), np.array([mask.shape[1] // 2])
        if rows.size > abs(missing):
            distance = (rows - rows[0]) ** 2 + (columns - columns[0]) ** 2
            nearest = np.argsort(distance, kind="stable")[: abs(missing)]
            rows, columns = rows[nearest], columns[nearest]
        mask[rows, columns] = missing > 0
    return mask


def _grown(mask: Mask) -> Mask:
    """``mask`` and the four neighbours of each of its pixels."""
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown


def strokes(size: tuple[int, int], target: float, generator: torch.Generator) -> Iterator[Shape]:
    """Endless irregular strokes as of Liu et al. (ECCV 2018): random walks of thick, round lines, and some ellipses.

    A line is 3 to 13 % of the picture's shorter side wide, twice that for ``target`` 1.
    """
    draw, side = _drawing(generator), min(size)
    margin = 0.1 * side  # walks go beyond the border, or it would be missing less often than the middle
    while True:
        y, x = (draw(-margin, n + margin) for n in size)
        if draw(0, 1) < 0.2:
            a, b = draw(0.03, 0.12) * side, draw(0.03, 0.12) * side
            yield from _window(size, (y, x), max(a, b), _ellipse(y, x, a, b, draw(0, math.pi)))
            continue
        radius = max(draw(0.015, 0.065) * (1 + target) * side, 1.0)
        heading = draw(0, 2 * math.pi)
        for _ in range(int(draw(3, 11))):
            heading += draw(-1.3, 1.3)
            length = draw(0.05, 0.3) * side
            ends = zip((length * math.sin(heading), length * math.cos(heading)), (y, x), size, strict=True)
            dy, dx = (d if -margin <= at + d <= n + margin else -d for d, at, n in ends)  # turn back at the margin
            yield from _window(size, (y + dy / 2, x + dx / 2), length / 2 + radius, _line(y, x, dy, dx, radius))
            heading, y, x = math.atan2(dy, dx), y + dy, x + dx


def boxes(size: tuple[int, int], target: float, generator: torch.Generator) -> Iterator[Shape]:
    """Endless boxes anywhere; several cover the fraction ``target`` of the picture."""
    draw = _drawing(generator)
    while True:
        height, width = (max(1.0, draw(0.3, 0.8) * math.sqrt(target) * n) for n in size)
        y, x = (draw(m / 2, n - m / 2) for n, m in zip(size, (height, width), strict=True))
        yield from _window(size, (y, x), max(height, width) / 2, _box(y, x, height, width))


def scattered(size: tuple[int, ...], count: int, generator: torch.Generator) -> Mask:
    """``count`` pixels anywhere."""
    mask = np.zeros(math.prod(size), dtype=bool)
    mask[torch.randperm(mask.size, generator=generator)[:count].numpy()] = True
    return mask.reshape(size)


def volume_boxes(size: tuple[int, ...], count: int, generator: torch.Generator) -> Mask:
    """``count`` voxels in boxes anywhere, of any number of dimensions; of the last box, those nearest its middle."""
    draw, mask = _drawing(generator), np.zeros(size, dtype=bool)
    share = (count / math.prod(size)) ** (1 / len(size))
    grids = np.ogrid[tuple(slice(0, n) for n in size)]
    while (missing := count - int(mask.sum())) > 0:
        sides = [max(1.0, draw(0.3, 0.8) * share * n) for n in size]
        middle = [draw(m / 2, n - m / 2) for n, m in zip(size, sides, strict=True)]
        distance = np.zeros(size)
        for grid, at, side in zip(grids, middle, sides, strict=True):
            distance = np.maximum(distance, abs(grid + 0.5 - at) / side)
        new = np.flatnonzero((distance <= 0.5) & ~mask)
        if new.size > missing:
            new = new[np.argsort(distance.flat[new], kind="stable")[:missing]]
        mask.flat[new] = True
    return mask


Draw = Callable[[NDArray[np.float64], NDArray[np.float64]], tuple[Mask, NDArray[np.float64]]]
"""Rows ``(H, 1)`` and columns ``(1, W)`` of pixel centres to which of them are inside, and their order."""


def _drawing(generator: torch.Generator) -> Callable[[float, float], float]:
    """``uniform`` for thousands of numbers, drawn many at a time."""

    def endless() -> Iterator[float]:
        while True:
            yield from torch.rand(64, generator=generator, dtype=torch.float64).tolist()

    numbers = endless()
    return lambda low, high: low + (high - low) * next(numbers)


def _line(y0: float, x0: float, dy: float, dx: float, radius: float) -> Draw:
    """Pixels within ``radius`` of the line from ``(y0, x0)`` by ``(dy, dx)``, those near its beginning first."""

    def draw(y: NDArray[np.float64], x: NDArray[np.float64]) -> tuple[Mask, NDArray[np.float64]]:
        y, x = y - y0, x - x0
        along = np.minimum(np.maximum((y * dy + x * dx) / (dy * dy + dx * dx), 0), 1)
        return (y - along * dy) ** 2 + (x - along * dx) ** 2 <= radius**2, y**2 + x**2

    return draw


def _box(y0: float, x0: float, height: float, width: float) -> Draw:
    """Pixels of a box, those in its middle first, so that a part of it is a box."""

    def draw(y: NDArray[np.float64], x: NDArray[np.float64]) -> tuple[Mask, NDArray[np.float64]]:
        distance = np.maximum(abs(y - y0) / height, abs(x - x0) / width)
        return distance <= 0.5, distance

    return draw


def _ellipse(y0: float, x0: float, a: float, b: float, angle: float) -> Draw:
    """Pixels of an ellipse, those in its middle first."""

    def draw(y: NDArray[np.float64], x: NDArray[np.float64]) -> tuple[Mask, NDArray[np.float64]]:
        u = (x - x0) * math.cos(angle) + (y - y0) * math.sin(angle)
        v = (y - y0) * math.cos(angle) - (x - x0) * math.sin(angle)
        distance = (u / a) ** 2 + (v / b) ** 2
        return distance <= 1, distance

    return draw


def _window(size: tuple[int, int], middle: tuple[float, float], reach: float, draw: Draw) -> Iterator[Shape]:
    """The shape of ``draw`` within ``reach`` of ``middle``; nothing if that is outside of the picture."""
    (top, bottom), (left, right) = (
        (max(math.floor(m - reach), 0), min(math.ceil(m + reach), n)) for m, n in zip(middle, size, strict=True)
    )
    if top < bottom and left < right:
        rows, columns = (np.arange(*ends, dtype=np.float64) + 0.5 for ends in ((top, bottom), (left, right)))
        inside, order = draw(rows[:, None], columns[None, :])
        yield Shape(slice(top, bottom), slice(left, right), inside, order)


def centred(size: tuple[int, int], ratios: Bin, target: float) -> Mask:
    """A rectangle in the middle with a hole ratio in the bin, near to ``target`` and to the picture's aspect.

    Raises:
        ValueError: no rectangle has a ratio in the bin.
    """
    (height, width), pixels = size, math.prod(size)
    least, most = ratios.counts(pixels)
    h = np.arange(1, height + 1)
    narrowest, widest = np.maximum(-(-least // h), 1), np.minimum(most // h, width)
    w = np.clip(np.round(target * pixels / h).astype(np.int64), narrowest, np.maximum(widest, narrowest))
    miss = np.where(narrowest <= widest, np.abs(h * w / pixels - target), np.inf)
    skew = np.abs(h / height - w / width)  # up to one pixel is free
    best = int(np.argmin(miss + np.maximum(skew - 1 / min(size), 0) + 1e-6 * skew))
    if least == 0 and target < miss[best]:
        return np.zeros(size, dtype=bool)
    if miss[best] == np.inf:
        raise ValueError(
            f"no rectangle in the middle of a picture of {width}×{height} pixels covers a fraction of {ratios} of it; "
            "make the ratio's bin wider or the picture larger"
        )
    mask = np.zeros(size, dtype=bool)
    top, left = (height - h[best]) // 2, (width - w[best]) // 2
    mask[top : top + h[best], left : left + w[best]] = True
    return mask


def half(size: tuple[int, int], side: str, ratios: Bin) -> Mask:
    """The half of the picture at ``side``; of an odd number of lines, the smaller half if it lies in the bin.

    Raises:
        ValueError: neither half lies in it.
    """
    axis = 1 if side in ("left", "right") else 0
    lines = size[axis]
    least, most = ratios.counts(math.prod(size))
    for count in (lines // 2, lines - lines // 2):
        if least <= count * size[1 - axis] <= most:
            mask = np.zeros(size, dtype=bool)
            part = slice(0, count) if side in ("left", "top") else slice(lines - count, lines)
            mask[(slice(None), part) if axis else (part, slice(None))] = True
            return mask
    raise ValueError(f"half of a picture of {size[1]}×{size[0]} pixels has no hole ratio from {ratios}; widen the bin")

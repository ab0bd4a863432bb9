"""Where a picture is cut when it is encoded tile by tile, so that no seam can be measured.

A tile owns the cells of a square of the feature grid. It is encoded with a halo wide enough (encoder radius plus
decoder reach) that every feature a query can touch equals that of the whole picture; origins lie on the encoder's
size multiple.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import torch
from torch import Tensor

from implicitkit.coordinates import Size, nearest_index

Window = tuple[slice, ...]
WIDE = 256  # points


@dataclass(frozen=True)
class Tiling:
    """The cuts of a picture of ``size`` (padded: ``extent``) into tiles of ``tile`` pixels with ``halo`` pixels
    around them.
    """

    size: Size
    extent: Size
    stride: int
    tile: int
    halo: int

    @classmethod
    def plan(cls, size: Size, *, tile: int, stride: int, multiple: int, radius: int, reach: int) -> Tiling:
        """Round ``tile`` and the halo up to ``multiple``, the encoder's size multiple (itself one of the stride)."""

        def up(n: int) -> int:
            return -(-n // multiple) * multiple

        extent = tuple(up(n) for n in size)
        halo = up(radius + reach * stride)
        return cls(size, extent, stride, up(tile), halo)

    @property
    def grid(self) -> Size:
        """Cells of the whole feature grid."""
        return tuple(n // self.stride for n in self.extent)

    def owners(self, x: Tensor, axis: int) -> Tensor:
        """The tile of each coordinate ``x`` of an axis (in the padded extent): int64, same shape."""
        return nearest_index(x.float(), self.grid[axis]) * self.stride // self.tile

    def runs(self, x: Tensor, axis: int) -> list[tuple[int, slice]]:
        """A sorted axis ``(n,)`` as ``(tile, slice)`` runs."""
        tiles, counts = torch.unique_consecutive(self.owners(x, axis), return_counts=True)
        ends = [0, *counts.cumsum(0).tolist()]
        return [(int(t), slice(a, b)) for t, (a, b) in zip(tiles.tolist(), pairwise(ends), strict=True)]

    def crop(self, tile: Size) -> tuple[slice, ...]:
        """The pixels, halo included, from which ``tile`` (one number per axis) is encoded."""
        return tuple(
            slice(max(0, k * self.tile - self.halo), min(n, (k + 1) * self.tile + self.halo))
            for k, n in zip(tile, self.size, strict=True)
        )


def windows(spans: Sequence[Sequence[slice]], block: int) -> Iterator[Window]:
    """The regions that ``spans`` (per axis) make, in pieces of at most ``block`` points, at most ``WIDE`` of a row.

    A piece that is not much wider than high touches fewer cells than a few whole rows do.
    """
    for region in product(*spans):
        lengths = [span.stop - span.start for span in region]
        steps, room = [0] * len(lengths), max(1, block)
        for k in reversed(range(len(lengths))):
            steps[k] = max(1, min(lengths[k], room, WIDE if k else room))
            room //= steps[k]
        starts = [range(span.start, span.stop, step) for span, step in zip(region, steps, strict=True)]
        for corner in product(*starts):
            yield tuple(slice(a, min(a + step, span.stop)) for a, step, span in zip(corner, steps, region, strict=True))


def points_of(window: Window) -> int:
    """How many points a window has."""
    return math.prod(span.stop - span.start for span in window)


def cut(regions: Iterable[Window], block: int) -> Iterator[Window]:
    """The windows of at most ``block`` points that ``regions`` are made of."""
    for region in regions:
        yield from windows([[span] for span in region], block)


def noting(pieces: Iterator[Window], taken: deque[Window]) -> Iterator[Window]:
    """``pieces``, each of which is put down as taken."""
    for window in pieces:
        taken.append(window)
        yield window

"""The cells around a query point, with offsets and area weights, for one, two or three dimensions.

Everything is computed per axis and combined by broadcasting: a grid of queries passes its axes ``(H, 1)`` and
``(1, W)``, a list of points its columns ``(B, N)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from implicitkit.coordinates import Ties, nearest_index, pixel_centres
from implicitkit.decoders.rows import Rows

SHIFT_EPS = 1e-6  # LIIF: no ties on cell borders
MIN_AREA = 1e-30  # keeps 0 / 0 out of gradients and graphs


class AxisNeighbours(NamedTuple):
    """The cells near each coordinate on one axis; the leading dimension runs over the sides (1 or 2)."""

    cell: Tensor
    """``(sides, *shape)`` int64: the cell's index on the axis."""
    offset: Tensor
    """``(sides, *shape)`` float32: the query minus the cell's centre, in cells."""
    weight: Tensor
    """``(sides, *shape)`` float32: the side's share; the sides sum to 1."""


class Neighbours(NamedTuple):
    """The ``2^d`` cells around each query (one without the ensemble)."""

    row: Tensor
    """``(corners, *shape)`` int64: the cell's row in the stored map, flattened."""
    offset: Tensor
    """``(corners, *shape, d)`` float32: the query minus the cell's centre, in cells."""
    weight: Tensor
    """``(corners, *shape)`` float32: the opposite area over the sum of areas, as a product of the axes' weights."""


def axis_neighbours(x: Tensor, n: int, *, ensemble: bool = True, ties: Ties = "even") -> AxisNeighbours:
    """The one (``ensemble=False``) or two cells of an axis of ``n`` cells that LIIF reads for each ``x``.

    Shift the query by half a cell to either side plus 1e-6, clamp it to the extent and take the nearest cell; the
    offset runs from that cell's centre to the query itself. At the border both sides may give the same cell. (Chen et
    al., CVPR 2021, eq. 4 and its implementation.)

    ``ties`` as of :func:`~implicitkit.coordinates.nearest_index`; of two sides the shift leaves none.

    A side's weight is the other side's offset over the sum of both. Where both are the same cell, the weights are
    halves: also at its centre, where all areas of eq. 4 vanish and rounding would decide between the other axes' cells.

    >>> near = axis_neighbours(torch.tensor([0.0]), 4)
    >>> near.cell.flatten().tolist(), near.offset.flatten().tolist()
    ([1, 2], [1.0, -1.0])
    """
    x = x.float()
    sides = [x + (SHIFT_EPS - 1.0 / n), x + (SHIFT_EPS + 1.0 / n)] if ensemble else [x]
    limit = 1.0 - SHIFT_EPS
    index = torch.stack([nearest_index(side.clamp(-limit, limit), n, ties=ties) for side in sides])
    centres = pixel_centres(n, device=x.device)
    offset = (x - centres[index]) * n
    return AxisNeighbours(index, offset, _shares(offset) if ensemble else torch.ones_like(offset))


def combine(per_axis: Sequence[AxisNeighbours], stored: Sequence[int], origin: Sequence[int]) -> Neighbours:
    """Combine per-axis neighbours, whose shapes broadcast, into corners of a map of ``stored`` cells that begins at
    ``origin``. Cells outside it are clamped; with a sufficient halo there are none.
    """
    sides = per_axis[0].cell.shape[0]
    corners = list(product(range(sides), repeat=len(per_axis)))
    local = [(a.cell - o).clamp(0, s - 1) for a, s, o in zip(per_axis, stored, origin, strict=True)]
    index, offset, weight = [], [], []
    for corner in corners:
        flat = local[0][corner[0]]
        for cells, part, side in zip(stored[1:], local[1:], corner[1:], strict=True):
            flat = flat * cells + part[side]
        parts = torch.broadcast_tensors(*(a.offset[side] for a, side in zip(per_axis, corner, strict=True)))
        index.append(flat)
        offset.append(torch.stack(parts, dim=-1))
        share = per_axis[0].weight[corner[0]]
        for axis, side in zip(per_axis[1:], corner[1:], strict=True):
            share = share * axis.weight[side]
        weight.append(share)
    return Neighbours(torch.stack(index), torch.stack(offset), torch.stack(weight))


def _shares(offset: Tensor) -> Tensor:
    """The weights of two sides ``(2, *shape)`` with these offsets."""
    opposite = offset.abs().flip(0)
    total = opposite.sum(0)
    return torch.where(total > 0, opposite / total.clamp_min(MIN_AREA), 0.5)


def axis_linear(x: Tensor, extent: int, n: int, *, repeat: bool = True) -> AxisNeighbours:
    """The two pixels that linear interpolation reads on an axis, and their weights.

    ``[-1, 1]`` spans ``extent`` pixels, of which ``n`` exist. The end pixels are repeated beyond, as in
    ``grid_sample(padding_mode="border", align_corners=False)``; without ``repeat`` all beyond them is zero, as with
    ``padding_mode="zeros"``: the weights there are 0.
    """
    position = ((x.float() + 1) * extent - 1) / 2
    position = position.clamp(0, n - 1) if repeat else position.clamp(-1, n)
    low = position.floor()
    fraction = position - low
    first = low.to(torch.int64)
    pixels = torch.stack([first, first + 1])
    weight = torch.stack([1 - fraction, fraction])
    if not repeat:
        weight = weight * ((pixels >= 0) & (pixels < n))
    return AxisNeighbours(pixels.clamp(0, n - 1), torch.stack([fraction, fraction - 1]), weight)


class QueryNeighbours(NamedTuple):
    """The cells on both sides of each query, the offsets to them and the sides' shares; a kernel combines the axes.

    Shapes are ``(sides, H)`` and ``(sides, W)`` for a grid, ``(sides, B * N)`` twice for points.
    """

    cell_y: Tensor
    off_y: Tensor
    cell_x: Tensor
    off_x: Tensor
    points: int
    width: int
    grid: bool
    sides: int
    share_y: Tensor
    share_x: Tensor

    @classmethod
    def of(cls, per_axis: Sequence[Tensor], source: Rows, *, ensemble: bool) -> QueryNeighbours:
        """The neighbours in ``source`` of a grid, ``(1, H, 1)`` and ``(1, 1, W)``, or of points ``(B, N)`` twice."""
        is_grid = per_axis[0].ndim == 3
        if not is_grid:  # points of batch 1 serve every picture
            per_axis = [x.expand(len(source.rows), -1) for x in per_axis]
        near = [axis_neighbours(x, n, ensemble=ensemble) for x, n in zip(per_axis, source.grid, strict=True)]
        stored = [(a.cell - o).clamp(0, s - 1) for a, s, o in zip(near, source.cells, source.origin, strict=True)]
        (cell_y, off_y), (cell_x, off_x) = (
            (cell.flatten(1).contiguous(), a.offset.flatten(1).contiguous())
            for a, cell in zip(near, stored, strict=True)
        )
        width = per_axis[1].shape[-1]
        points = per_axis[0].shape[1] * width if is_grid else width
        shares = [a.weight.flatten(1).contiguous() for a in near]
        return cls(cell_y, off_y, cell_x, off_x, points, width, is_grid, 2 if ensemble else 1, *shares)

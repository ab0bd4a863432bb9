"""The cells around a query point, with offsets and area weights, for one, two or three dimensions.

Everything is computed axis by axis and combined by broadcasting. A grid of queries is separable, so it needs only its
axes ``(H, 1)`` and ``(1, W)``; a list of points passes its columns ``(B, N)``. The arithmetic is the same for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from implicitkit.coordinates import nearest_index, pixel_centres

SHIFT_EPS = 1e-6  # LIIF: keeps a query on a cell border from choosing between equals
SMALLEST = 1e-30  # keeps 0 / 0 out of gradients and graphs


class AxisNeighbours(NamedTuple):
    """The cells near each coordinate on one axis; the leading dimension runs over the sides (1 or 2)."""

    cell: Tensor
    """``(sides, *shape)`` int64: the cell's number on the axis."""
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


def axis_neighbours(x: Tensor, n: int, *, ensemble: bool = True) -> AxisNeighbours:
    """The one (``ensemble=False``) or two cells of an axis of ``n`` cells that LIIF consults for each ``x``.

    The query is shifted by half a cell to either side plus 1e-6 and clamped to the extent; the nearest cell to the
    shifted query is taken, and the offset runs from that cell's centre to the query itself. At the border both sides
    may find the same cell. (Chen et al., CVPR 2021, eq. 4 and its implementation.)

    A side's weight is the other side's offset over the sum of both. Where both are the same cell, the weights are
    halves: also at its centre, where all areas of eq. 4 vanish and rounding would decide between the other axes' cells.
    """
    x = x.float()
    shifts = (-1.0 / n + SHIFT_EPS, 1.0 / n + SHIFT_EPS) if ensemble else (0.0,)
    limit = 1.0 - SHIFT_EPS
    index = torch.stack([nearest_index((x + shift).clamp(-limit, limit), n) for shift in shifts])
    centres = pixel_centres(n, device=x.device)
    offset = (x - centres[index]) * n
    return AxisNeighbours(index, offset, _shares(offset) if ensemble else torch.ones_like(offset))


def combine(per_axis: Sequence[AxisNeighbours], stored: Sequence[int], origin: Sequence[int]) -> Neighbours:
    """Join per-axis neighbours (their shapes broadcast) into corners of a map of ``stored`` cells that begins at
    ``origin``.

    Indices that fall outside the stored part are clamped to it; with a sufficient halo none does.
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
    return torch.where(total > 0, opposite / total.clamp_min(SMALLEST), 0.5)


def axis_linear(x: Tensor, extent: int, n: int) -> AxisNeighbours:
    """The two pixels that linear interpolation reads on an axis, and their weights.

    ``extent`` is how many pixels ``[-1, 1]`` spans and ``n <= extent`` how many exist; beyond the last one the border
    value is repeated, as ``grid_sample(padding_mode="border", align_corners=False)`` does.
    """
    position = (((x.float() + 1) * extent - 1) / 2).clamp(0, n - 1)
    low = position.floor()
    fraction = position - low
    first = low.to(torch.int64)
    second = (first + 1).clamp_(max=n - 1)
    offset = torch.stack([fraction, fraction - 1])
    return AxisNeighbours(torch.stack([first, second]), offset, torch.stack([1 - fraction, fraction]))

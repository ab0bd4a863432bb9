"""The cells around queries, per axis, in the kernels' memory layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from implicitkit.decoders.neighbours import axis_neighbours
from implicitkit.decoders.rows import Rows


class QueryNeighbours(NamedTuple):
    """The cells on both sides of each query and the offsets to them, per axis; a kernel combines the axes.

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
        return cls(cell_y, off_y, cell_x, off_x, points, width, is_grid, 2 if ensemble else 1)

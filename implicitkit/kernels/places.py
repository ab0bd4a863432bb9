"""Where queries are, per axis, as the kernels read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from implicitkit.decoders.neighbours import axis_neighbours
from implicitkit.decoders.rows import Rows


class Places(NamedTuple):
    """Where queries are: their cells and offsets per axis, and how to find both for one query.

    A grid has ``(sides, H)`` and ``(sides, W)``, a list of points ``(sides, B * N)`` twice.
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
    def of(cls, per_axis: Sequence[Tensor], source: Rows, *, ensemble: bool) -> Places:
        """The neighbours in ``source`` of a grid, ``(1, H, 1)`` and ``(1, 1, W)``, or of points ``(B, N)`` twice."""
        is_grid = per_axis[0].ndim == 3
        if not is_grid:  # points of batch 1 serve every picture
            per_axis = [x.expand(len(source.rows), -1) for x in per_axis]
        found = [axis_neighbours(x, n, ensemble=ensemble) for x, n in zip(per_axis, source.grid, strict=True)]
        local = [(a.cell - o).clamp(0, s - 1) for a, s, o in zip(found, source.cells, source.origin, strict=True)]
        parts = [
            value.flatten(1).contiguous() for a, cell in zip(found, local, strict=True) for value in (cell, a.offset)
        ]
        points, width = per_axis[0].shape[-1], per_axis[1].shape[-1]
        if is_grid:
            points = per_axis[0].shape[1] * width
        return cls(parts[0], parts[1], parts[2], parts[3], points, width, is_grid, 2 if ensemble else 1)

"""What a decoder computes axis by axis on a grid, in place of pixel by pixel.

On a grid the offset to a neighbour along ``y`` belongs to the output row alone and the one along ``x`` to the column.
So what is a sum (or, by the addition theorems, made of products) of a part that knows ``d_y`` and one that knows
``d_x`` and the cell is tabulated per (row of cells, output column) and per output row, and joined where they meet. At
x4 the tables have about a quarter of the entries that the neighbours of all pixels have; the result is the same up to
rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from implicitkit.decoders.neighbours import axis_neighbours
from implicitkit.decoders.rows import Rows
from implicitkit.kernels.modes import values_alone

WORTH = 0.6  # table entries per neighbour, at most: joining them costs something too
LARGEST = 1 << 26  # bytes of tables, at most: they are made for a block, and a block may be large


@dataclass(frozen=True)
class Grid:
    """The cells that a two-dimensional grid of queries reads, and which of them each row and each column does.

    Attributes:
        map: ``(B, rows, columns, K)``, those cells.
        rows: ``(sides, H)`` int64, for each output row the row of cells on either side.
        columns: ``(sides, W)`` int64.
        down: ``(sides, H)`` float32, the offset from there, in cells.
        across: ``(sides, W)`` float32.
    """

    map: Tensor
    rows: Tensor
    columns: Tensor
    down: Tensor
    across: Tensor

    @classmethod
    def of(cls, source: Rows, per_axis: Sequence[Tensor], *, ensemble: bool) -> Grid | None:
        """The grid of the queries ``(1, H, 1)`` and ``(1, 1, W)``; None where they are no such grid, a graph is kept,
        a GPU or a compiler has its own ways, or something looks on that counts the usual way's products.
        """
        if len(per_axis) != 2 or per_axis[0].ndim != 3 or source.rows.is_cuda or torch.is_grad_enabled():
            return None
        if not values_alone():
            return None
        found, cut = [], []
        for x, n, stored, first in zip(per_axis, source.grid, source.cells, source.origin, strict=True):
            near = axis_neighbours(x.flatten(), n, ensemble=ensemble)
            cell = (near.cell - first).clamp(0, stored - 1)
            low, high = int(cell.min()), int(cell.max())
            cut.append(slice(low, high + 1))
            found.append((cell - low, near.offset))
        map = source.rows.unflatten(1, source.cells)[(slice(None), *cut)]
        (rows, down), (columns, across) = found
        return cls(map, rows, columns, down, across)

    def saves(self, *, also_down: bool = False) -> bool:
        """Whether the tables have much fewer entries than there are neighbours: the one along x, and (for cells that
        matter to both) the one along y.
        """
        (height, width), (rows, columns) = (self.rows.shape[1], self.columns.shape[1]), self.map.shape[1:3]
        sides = len(self.rows)
        entries = sides * (rows * width + height * columns * also_down)
        if 4 * entries * len(self.map) * self.map.shape[-1] > LARGEST:
            return False
        return entries <= WORTH * sides**2 * height * width


class GridSums:
    """``relu(row of the latent + W [offset, cell] + b)`` of each neighbour of a grid's queries.

    Args:
        grid: whose map is the latent, ``K`` wide.
        geometry: ``(K, 2)`` float32, the columns of ``W`` that the offset is multiplied by.
        constant: ``(K,)`` float32, what the cell contributes.
        dtype: of the tables and the result; the tables are summed up in float32.
    """

    def __init__(self, grid: Grid, geometry: Tensor, constant: Tensor, dtype: torch.dtype) -> None:
        self._grid = grid
        self._down = (grid.down[..., None] * geometry[:, 0]).to(dtype)
        self._across = []
        for cells, offset in zip(grid.columns, grid.across, strict=True):
            part = torch.addcmul(constant, offset[:, None], geometry[:, 1])
            self._across.append(grid.map.index_select(2, cells).float().add_(part).to(dtype))

    def __call__(self, corner: int, rows: slice) -> Tensor:
        """The values ``(B * n, K)`` at neighbour ``corner`` of the queries in the output rows ``rows``."""
        y, x = divmod(corner, len(self._across))  # on which side, per axis
        values = self._across[x].index_select(1, self._grid.rows[y, rows])
        return values.add_(self._down[y, rows, None]).relu_().flatten(0, 2)


class GridWaves:
    """LTE's waves ``A [cos a, sin a]`` of each neighbour of a grid's queries, ``a = F_y d_y + F_x d_x + phi``.

    ``A_c cos(u + v) = (A_c cos v) cos u - (A_c sin v) sin u``, and likewise for the sine: with ``v`` what ``d_x`` and
    the phase make, all but ``cos u`` and ``sin u`` is in the table along x.

    Args:
        grid: whose map holds ``K`` amplitudes, ``K / 2`` frequencies along y and as many along x, in radians per cell.
        phase: ``(1, K / 2)``.
        dtype: of the tables and the result; angles are float32.
    """

    def __init__(self, grid: Grid, phase: Tensor, dtype: torch.dtype) -> None:
        basis = grid.map.shape[-1] // 2
        amplitude, along_y, along_x = grid.map.split([basis, basis // 2, basis // 2], -1)
        amplitude = amplitude.to(dtype)
        self._grid, self._down, self._across = grid, [], []
        for cells, offset in zip(grid.rows, grid.down, strict=True):
            angle = along_y.index_select(1, cells).mul_(offset[:, None, None])
            table = angle.new_empty((*angle.shape[:-1], basis), dtype=dtype)
            for part, values in zip(table.chunk(2, -1), (angle.cos(), angle.sin_()), strict=True):
                part.copy_(values)
            self._down.append(table)
        for cells, offset in zip(grid.columns, grid.across, strict=True):
            angle = torch.addcmul(phase, along_x.index_select(2, cells), offset[:, None])
            table = angle.new_empty((*angle.shape[:-1], 2 * basis), dtype=dtype)
            wide = amplitude.index_select(2, cells)
            for part, values in zip(table.chunk(2, -1), (angle.cos(), angle.sin_()), strict=True):
                torch.mul(wide.unflatten(-1, (2, -1)), values.to(dtype)[..., None, :], out=part.unflatten(-1, (2, -1)))
            self._across.append(table)

    def __call__(self, corner: int, rows: slice) -> Tensor:
        """The waves ``(B * n, K)`` at neighbour ``corner`` of the queries in the output rows ``rows``."""
        y, x = divmod(corner, len(self._down))  # on which side, per axis
        down = self._down[y][:, rows].index_select(2, self._grid.columns[x])
        across = self._across[x].index_select(1, self._grid.rows[y, rows])
        wave = torch.empty_like(down)
        (cos, sin), (first, second) = down.chunk(2, -1), wave.chunk(2, -1)
        of_cos, of_sin, of_cos_turned, of_sin_turned = across.chunk(4, -1)
        torch.mul(of_cos, cos, out=first).addcmul_(of_cos_turned, sin, value=-1)
        torch.mul(of_sin, sin, out=second).addcmul_(of_sin_turned, cos)
        return wave.flatten(0, 2)

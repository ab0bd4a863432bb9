"""LTE's waves on a grid, axis by axis: sines and cosines for rows and columns in place of pixels.

The angle at a neighbour is ``F_y d_y + F_x d_x + phi``. On a grid ``d_y`` belongs to the output row alone and ``d_x``
to the column, so ``cos`` and ``sin`` of the two parts are computed once per (output row, column of cells) and per (row
of cells, output column), and joined by the addition theorems. At x4 that is about a quarter of them; the
result is the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from implicitkit.decoders.local_ensemble import Rows
from implicitkit.neighbours import AxisNeighbours

WORTH = 0.6  # of the sines and cosines, at most: gathering the parts costs something too


class GridWaves:
    """The waves ``A [cos a, sin a]`` of each neighbour of a grid's queries.

    Args:
        source: the latent's rows, ``(B, prod cells, 2 K)``: amplitudes, frequencies along y, frequencies along x.
        near: the neighbours per axis, ``(sides, H)`` and ``(sides, W)``, cells counted in the whole map.
        phase: ``(1, K / 2)``.
        dtype: of sines, cosines and amplitudes; angles are float32.
    """

    def __init__(self, source: Rows, near: Sequence[AxisNeighbours], phase: Tensor, dtype: torch.dtype) -> None:
        batch, self._basis = len(source.rows), source.rows.shape[-1] // 2
        half, (height, width) = self._basis // 2, source.cells
        (cell_y, off_y), (cell_x, off_x) = (
            ((axis.cell - o).clamp(0, n - 1), axis.offset)
            for axis, o, n in zip(near, source.origin, source.cells, strict=True)
        )
        top, left = int(cell_y.min()), int(cell_x.min())
        rows, columns = int(cell_y.max()) + 1 - top, int(cell_x.max()) + 1 - left
        map = source.rows.view(batch, height, width, -1)[:, top : top + rows, left : left + columns]
        self._amplitude = map[..., : self._basis].flatten(1, 2).to(dtype).contiguous()
        along_y, along_x = map[..., self._basis : -half], map[..., -half:]
        down = torch.arange(cell_y.shape[1], device=map.device)[:, None]
        across = torch.arange(cell_x.shape[1], device=map.device)
        self._y, self._x = [], []  # for each side: a table, and which of its entries the other axis reads
        self._cells_y, self._cells_x = cell_y - top, cell_x - left
        for cy, dy, cx, dx in zip(self._cells_y, off_y, self._cells_x, off_x, strict=True):
            turned_y = _turned(along_y.index_select(1, cy) * dy[:, None, None], dtype)
            turned_x = _turned(along_x.index_select(2, cx) * dx[:, None] + phase, dtype)
            self._y.append((turned_y, (cy[:, None] * len(across) + across).flatten()))
            self._x.append((turned_x, (down * columns + cx).flatten()))
        self._columns = columns

    @staticmethod
    def worth_it(near: Sequence[AxisNeighbours]) -> bool:
        """Whether there are much fewer sines and cosines to compute than one by one."""
        (sides, height), (_, width) = (axis.cell.shape for axis in near)
        rows, columns = (int(axis.cell.max() - axis.cell.min()) + 1 for axis in near)
        return height * columns + rows * width <= WORTH * sides * height * width

    def __call__(self, corner: int, span: slice) -> Tensor:
        """The waves ``(B * n, K)`` of neighbour ``corner`` for the queries of ``span``."""
        y, x = divmod(corner, len(self._y))  # on which side, per axis
        (table_y, at_x), (table_x, at_y) = self._y[y], self._x[x]
        at = (self._cells_y[y][:, None] * self._columns + self._cells_x[x]).flatten()[span]
        (cos_y, sin_y), (cos_x, sin_x) = (
            table.index_select(1, index[span]).chunk(2, -1) for table, index in ((table_y, at_y), (table_x, at_x))
        )
        wave = self._amplitude.new_empty(len(table_y), len(at), self._basis)
        cos, sin = wave.chunk(2, -1)
        torch.mul(cos_y, cos_x, out=cos).addcmul_(sin_y, sin_x, value=-1)
        torch.mul(sin_y, cos_x, out=sin).addcmul_(cos_y, sin_x)
        return wave.mul_(self._amplitude.index_select(1, at)).flatten(0, 1)


def _turned(angle: Tensor, dtype: torch.dtype) -> Tensor:
    """``(B, *, *, K / 2)`` -> its cosines, then its sines: ``(B, places, K)``."""
    table = angle.new_empty((*angle.shape[:-1], 2 * angle.shape[-1]))
    cos, sin = table.chunk(2, -1)
    torch.cos(angle, out=cos)
    torch.sin(angle, out=sin)
    return table.flatten(1, 2).to(dtype)

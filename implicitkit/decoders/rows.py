"""A feature map stored as rows, one per cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from implicitkit.coordinates import Size


@dataclass(frozen=True)
class Rows:
    """A map ``(B, K, *cells)`` stored as rows ``(B, prod cells, K)``; it begins at ``origin`` of the whole ``grid``.

    >>> rows = Rows.of(torch.arange(12.0).reshape(1, 2, 2, 3), origin=(0, 0), grid=(2, 3))
    >>> rows.take(torch.tensor([[4]]))
    tensor([[ 4., 10.]])
    """

    rows: Tensor
    cells: Size
    origin: Size
    grid: Size

    @classmethod
    def of(cls, map: Tensor, origin: Size, grid: Size) -> Rows:
        """Store ``map`` as rows, so that reading one cell's features is one contiguous read."""
        return cls(map.flatten(2).transpose(1, 2).contiguous(), tuple(map.shape[2:]), origin, grid)

    def take(self, index: Tensor) -> Tensor:
        """The rows at ``index`` ``(B or 1, N)``, as ``(B * N, K)``; an index of batch 1 serves every picture."""
        if index.shape[0] == 1:
            return self.rows.index_select(1, index[0]).reshape(-1, self.rows.shape[-1])
        return self.take_each([index])[0]

    def take_each(self, indices: Sequence[Tensor]) -> Sequence[Tensor]:
        """:meth:`take` of each index in one read, whose backward adds to the map's gradient once."""
        batch, count, width = self.rows.shape
        first = torch.arange(batch, device=self.rows.device)[:, None] * count
        flat = [(index + first).reshape(-1) for index in indices]
        taken = self.rows.reshape(-1, width).index_select(0, flat[0] if len(flat) == 1 else torch.cat(flat))
        parts: tuple[Tensor, ...] = taken.split([len(index) for index in flat])
        return parts

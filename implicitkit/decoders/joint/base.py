"""A joint view of the cells around a query: all at once, instead of one after the other and blended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from implicitkit.coordinates import nearest_index, pixel_centres
from implicitkit.decoders.base import Condition, Decoder, Inputs, in_half_cells
from implicitkit.decoders.local_ensemble import Latent, check_latent
from implicitkit.decoders.neighbours import AxisNeighbours, axis_neighbours, combine
from implicitkit.decoders.rows import Rows
from implicitkit.decoders.skip import picture_rows, read_linear
from implicitkit.encoders.base import Features

ROWS_BYTES = 32 << 20  # of the rows that are handed over at a time


class Around(NamedTuple):
    """The ``k`` cells around each query."""

    rows: Tensor
    """``(B, N, k, K)``: their latent rows."""
    offset: Tensor
    """``(B or 1, N, k, d)`` float32: the query minus each cell's centre, in half cells."""
    weight: Tensor
    """``(B or 1, N, k)`` float32: LIIF's shares of corners; 1 / k in a window."""
    inside: Tensor
    """``(B or 1, N, k)`` bool: whether the cell is one of the picture's; outside, rows are those of the border."""
    cell: Tensor | None
    """``(B or 1, N or 1, d)`` float32: the output pixel's size in half cells; None if unused."""
    coords: Tensor
    """``(B or 1, N, d)`` float32: the queries."""


class JointDecoder(Decoder):
    """Hands all cells around a query to one function. A subclass writes :meth:`project` and :meth:`joint`.

    Attributes:
        window: None: the 2^d corners that LIIF reads, in its order. A number ``r``: the ``(2 r + 1)^d`` cells around
            the nearest one, row by row.
        skip: whether the linearly interpolated input picture is added.

    >>> class Mean(JointDecoder):
    ...     in_channels, uses_cell, window, reach, skip = 3, False, 1, 1, False
    ...     def project(self, map):
    ...         return map
    ...     def joint(self, latent, around):
    ...         return (around.rows * around.inside[..., None]).mean(2)
    >>> latent = Mean().prepare(Features(torch.ones(1, 3, 4, 4), (4, 4)), None, {})
    >>> Mean().query(latent, torch.zeros(1, 5, 2), None, {}).shape
    torch.Size([1, 5, 3])
    """

    window: int | None = None
    skip: bool = True

    def project(self, map: Tensor) -> Tensor:
        """The map ``(B, K, *cells)`` whose rows :meth:`joint` gets, of the features ``(B, in_channels, *cells)``."""
        raise NotImplementedError(f"{type(self).__name__} does not implement project()")

    def joint(self, latent: Latent, around: Around) -> Tensor:
        """``(B, N, out_channels)`` of the cells around ``N`` queries; ``latent`` is that of the question."""
        raise NotImplementedError(f"{type(self).__name__} does not implement joint()")

    def near(self, x: Tensor, n: int, cell: Tensor | None) -> AxisNeighbours:
        """The cells to hand over on an axis of ``n``, for queries ``(B or 1, N)`` and the output pixel's size there,
        ``(B or 1, N or 1)`` in ``[-1, 1]``.
        """
        return axis_neighbours(x, n) if self.window is None else window_around(x, n, self.window)

    def values(self, latent: Latent, coords: Tensor, cell: Tensor | None) -> Tensor:
        """``(B, N, out_channels)`` without the skip: :meth:`joint` of what is around each query."""
        return self.joint(latent, self.around(latent.features, coords, cell))

    def prepare(self, features: Features, inputs: Inputs, conditions: Mapping[str, Condition]) -> Latent:
        picture = picture_rows(inputs, self.out_channels) if self.skip else None
        return Latent(Rows.of(self.project(features.map), features.origin, features.grid), features.extent, picture)

    def query(self, latent: Latent, coords: Tensor, cell: Tensor | None, conditions: Mapping[str, Tensor]) -> Tensor:
        check_latent(self, latent)
        coords, parts = coords.float(), []
        for span in self._spans(latent.features, coords.shape[1]):
            own = cell if cell is None or cell.shape[1] == 1 else cell[:, span]
            values = self.values(latent, coords[:, span], own).float()
            if latent.extra is not None:
                values = values + read_linear(latent.extra, latent.extent, coords[:, span].unbind(-1))
            parts.append(values)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def around(self, source: Rows, coords: Tensor, cell: Tensor | None) -> Around:
        """What is around queries ``(B or 1, N, d)`` in a map, with their cell ``(B or 1, N or 1, d)``."""
        sizes = [None] * coords.shape[-1] if cell is None else cell.float().unbind(-1)
        near = [self.near(*axis) for axis in zip(coords.unbind(-1), source.grid, sizes, strict=True)]
        inside = [
            AxisNeighbours(a.cell.clamp(0, n - 1), a.offset, ((a.cell >= 0) & (a.cell < n)).float())
            for a, n in zip(near, source.grid, strict=True)
        ]
        shares, stored = (combine(cells, source.cells, source.origin) for cells in (near, inside))
        rows = [source.take(index).unflatten(0, (len(source.rows), -1)) for index in stored.row]
        return Around(
            torch.stack(rows, dim=2),
            shares.offset.movedim(0, 2),
            shares.weight.movedim(0, -1),
            stored.weight.movedim(0, -1) > 0,
            in_half_cells(cell, source.grid) if self.uses_cell else None,
            coords,
        )

    def _spans(self, source: Rows, points: int) -> list[slice]:
        """Cut the points so that the rows around them stay small; with a graph they are kept anyway."""
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return [slice(None)]
        cells = 2 ** len(source.grid) if self.window is None else (2 * self.window + 1) ** len(source.grid)
        step = max(1, ROWS_BYTES // (4 * len(source.rows) * cells * source.rows.shape[-1]))
        return [slice(start, start + step) for start in range(0, max(1, points), step)]


def window_around(x: Tensor, n: int, radius: int) -> AxisNeighbours:
    """The cells within ``radius`` of the nearest one on an axis, also beyond its ends."""
    nearest = nearest_index(x.clamp(-1 + 1e-6, 1 - 1e-6), n)
    steps = torch.arange(-radius, radius + 1, device=x.device).reshape(-1, *(1,) * x.ndim)
    offset = (x - pixel_centres(n, device=x.device)[nearest]) * n - 2 * steps
    return AxisNeighbours(nearest + steps, offset, torch.full_like(offset, 1 / (2 * radius + 1)))

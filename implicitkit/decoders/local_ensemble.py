"""The local ensemble (Chen et al., CVPR 2021, eq. 4), shared by LIIF and its relatives.

``s(x) = sum_t (A_t / A) f(z_t, x - v_t)``: the 2^d nearest cells each make a prediction, blended by opposite area. A
subclass writes ``prepare`` (which calls :meth:`LocalEnsembleDecoder.to_latent`) and ``local``, and ``at_point`` and
``finish`` if needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from implicitkit.coordinates import Size, constants, open_mesh
from implicitkit.decoders.base import Decoder, Inputs
from implicitkit.decoders.neighbours import Neighbours, axis_neighbours, combine
from implicitkit.decoders.rows import Rows
from implicitkit.encoders.base import Features

CACHE_BYTES = 2 << 20  # of one layer's values, on a CPU
GRAPH_BYTES = 24 << 20  # the same with a graph: malloc returns blocks above 32 MiB to the system, which is slow


@dataclass(frozen=True)
class Latent:
    """A picture as a local-ensemble decoder reads it: rows, and ``extra`` values of a subclass."""

    features: Rows
    extent: Size
    extra: Any = None


def check_latent(decoder: Decoder, latent: Any) -> None:
    """Say what a latent of this family is, where :meth:`Decoder.prepare` or :meth:`Decoder.begin` returned another.

    Raises:
        TypeError: they did.
    """
    if not hasattr(latent, "features"):
        raise TypeError(
            f"the latent of {type(decoder).__name__} is what prepare() or begin() returned, "
            f"a {type(latent).__name__}; in this family it is a Latent: to_latent() makes one, and "
            "dataclasses.replace(latent, extra=...) adds what a question shares"
        )


class LocalEnsembleDecoder(Decoder):
    """Evaluates ``local`` at the 2^d nearest cells and blends by opposite area.

    Without ``local_ensemble`` it reads the nearest cell alone.

    >>> class Slope(LocalEnsembleDecoder):
    ...     in_channels, uses_cell = 3, False
    ...     def prepare(self, features, inputs, conditions):
    ...         return self.to_latent(features, features.map)
    ...     def local(self, rows, offset, cell, point):
    ...         return rows + offset.sum(1, keepdim=True)
    >>> latent = Slope().prepare(Features(torch.zeros(1, 3, 4, 4), (4, 4)), None, {})
    >>> Slope().query(latent, torch.zeros(1, 5, 2), None, {}).shape
    torch.Size([1, 5, 3])
    """

    local_ensemble: bool = True

    def local(self, rows: Tensor, offset: Tensor, cell: Tensor | None, point: Tensor | None) -> Tensor:
        """One cell's prediction for each query.

        Args:
            rows: ``(M, K)`` the cell's latent row.
            offset: ``(M, d)`` float32, the query minus the cell's centre, in cells.
            cell: ``(M or 1, d)`` float32, the output pixel's size in cells; None if unused.
            point: ``(M or 1, P)`` the result of :meth:`at_point`; None by default.

        Returns:
            ``(M, out_channels)``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement local()")

    def at_point(self, cell: Tensor | None, conditions: Mapping[str, Tensor]) -> Tensor | None:
        """Compute what depends on the query alone, once for all neighbours: ``(M or 1, P)``, or None.

        ``conditions`` holds ``(M, C)`` per name.
        """
        return None

    def finish(self, latent: Latent, per_axis: Sequence[Tensor], blended: Tensor) -> Tensor:
        """Finish the blended values ``(B, N, out)`` (add a skip connection). ``per_axis`` broadcasts to the queries."""
        return blended

    def to_latent(self, features: Features, projected: Tensor, extra: Any = None) -> Latent:
        """The latent of ``projected`` ``(B, K, *cells)``, a map with the cells of ``features``."""
        return Latent(Rows.of(projected, features.origin, features.grid), features.extent, extra)

    lay_out = to_latent  # its former name

    def pack(self, latent: Latent) -> Tensor:
        packed: Tensor = latent.features.rows.unflatten(1, latent.features.cells)
        return packed

    def unpack(self, packed: Tensor, inputs: Inputs | None) -> Latent:
        grid = tuple(packed.shape[1:-1])
        return Latent(Rows(packed.flatten(1, -2), grid, (0,) * len(grid), grid), grid)

    def query(self, latent: Latent, coords: Tensor, cell: Tensor | None, conditions: Mapping[str, Tensor]) -> Tensor:
        flat = {name: value.flatten(0, 1) for name, value in conditions.items()}
        return self._blend(latent, coords.float().unbind(-1), cell, flat)

    def query_grid(
        self, latent: Latent, axes: Sequence[Tensor], cell: Tensor | None, conditions: Mapping[str, Tensor]
    ) -> Tensor:
        if cell is not None and cell.shape[1] != 1:  # one cell per point
            return super().query_grid(latent, axes, cell, conditions)
        flat = {name: rearrange(value, "b c ... -> (b ...) c") for name, value in conditions.items()}
        values = self._blend(latent, open_mesh(axes), cell, flat).transpose(1, 2)
        return values.reshape(*values.shape[:2], *(len(axis) for axis in axes))

    def in_cells(self, cell: Tensor | None, grid: Size, batch: int = 1, points: int = 1) -> Tensor | None:
        """The output pixel's size ``(B or 1, N or 1, d)`` in cells of the feature grid: ``(1, d)`` if all queries share
        it, ``(batch * points, d)`` otherwise, None if unused.
        """
        if cell is None or not self.uses_cell:
            return None
        cell = cell.float() * constants(grid, cell.device)
        if cell.shape[:2] == (1, 1):
            return cell[0]
        return cell.expand(batch, points, -1).flatten(0, 1)

    def _blend(
        self, latent: Latent, per_axis: Sequence[Tensor], cell: Tensor | None, conditions: Mapping[str, Tensor]
    ) -> Tensor:
        check_latent(self, latent)
        source, batch = latent.features, len(latent.features.rows)
        near = self._neighbours(source, per_axis)
        points = near.row.shape[2]
        cell = self.in_cells(cell, source.grid, batch, points)
        point = self.at_point(cell, conditions)
        spans = self._spans(source.rows, points)
        indices = [index[:, span] for span in spans for index in near.row]
        # with a graph, fetch all parts together: one gradient for the map
        together = torch.is_grad_enabled() and len(spans) > 1
        rows = iter(source.take_each(indices)) if together else map(source.take, indices)
        parts = []
        for span in spans:
            own_cell, own_point = (_of(values, span, batch, points) for values in (cell, point))
            blended: Tensor | None = None
            for offset, weight in zip(near.offset, near.weight, strict=True):
                own_offset = offset[:, span].expand(batch, -1, -1).flatten(0, 1)
                share = self.local(next(rows), own_offset, own_cell, own_point).float().unflatten(0, (batch, -1))
                share = share * weight[:, span, None]
                blended = share if blended is None else blended.add_(share)
            assert blended is not None
            parts.append(blended)
        return self.finish(latent, per_axis, parts[0] if len(parts) == 1 else torch.cat(parts, dim=1))

    def _neighbours(self, source: Rows, per_axis: Sequence[Tensor]) -> Neighbours:
        """The corners of all queries, flattened to ``(corners, B or 1, N[, d])``."""
        cells = [
            axis_neighbours(x, n, ensemble=self.local_ensemble) for x, n in zip(per_axis, source.grid, strict=True)
        ]
        near = combine(cells, source.cells, source.origin)
        return Neighbours(near.row.flatten(2), near.offset.flatten(2, -2), near.weight.flatten(2))

    def _spans(self, rows: Tensor, points: int) -> list[slice]:
        """Cut the points so that on a CPU a layer's values stay in the cache or, with a graph, reuse memory."""
        if torch.compiler.is_compiling():
            return [slice(None)]
        if rows.device.type != "cpu":
            return [slice(0, points)]
        limit = GRAPH_BYTES if torch.is_grad_enabled() else CACHE_BYTES
        step = max(1, limit // (4 * len(rows) * rows.shape[-1]))
        return [slice(start, start + step) for start in range(0, max(1, points), step)]


def _of(values: Tensor | None, span: slice, batch: int, points: int) -> Tensor | None:
    """The rows of ``values`` ``(B * N, K)`` for the points of ``span``; one row serves all."""
    if values is None or values.shape[0] == 1:
        return values
    return values.reshape(batch, points, -1)[:, span].flatten(0, 1)

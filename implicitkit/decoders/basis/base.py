"""Decoders that are linear in the latent: a table of functions of the offset, times coefficients per cell.

At an integer magnification ``s`` every cell has the same ``s^2`` offsets, so a render is one matrix product, ``(s^2 x K
table) (K x C coefficients of each cell)``, laid out as depth to space. At other magnifications each cell has a table of
its own, for the few rows and columns of output pixels in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from implicitkit.coordinates import Ties, open_mesh
from implicitkit.decoders.base import Condition, Decoder, Inputs, in_float32, in_half_cells
from implicitkit.decoders.basis.enlarging import Enlarging
from implicitkit.decoders.local_ensemble import Latent
from implicitkit.decoders.neighbours import AxisNeighbours, axis_neighbours, combine
from implicitkit.decoders.readout import read_nearest
from implicitkit.decoders.rows import Rows
from implicitkit.decoders.skip import picture_rows, read_linear
from implicitkit.encoders.base import Features

PictureSkip = Literal["nearest", "bilinear", "none"]
SAME_OFFSET = 2e-7  # offsets as near as rounding makes equal ones, in half cells, per cell of an axis


class BasisDecoder(Decoder):
    """``s(x)_c = sum_k coefficient[c, k] * function_k(x - v)``, ``v`` the centre of the nearest cell.

    A point half way between two cells reads the one that ``ties`` says, see
    :func:`~implicitkit.coordinates.nearest_index`. With ``local_ensemble`` the 2^d nearest cells are blended as LIIF's
    are. With ``average`` a value is the exact mean of the nearest cell's function over the output pixel, in place of
    its value at the pixel's centre. A subclass writes :meth:`coefficients` and :meth:`table`. Values are computed in
    float32 at any precision. Pictures only (2-D).

    >>> class Plane(BasisDecoder):
    ...     in_channels, uses_cell = 9, False
    ...     def coefficients(self, map):
    ...         return map
    ...     def table(self, offset, cell):
    ...         y, x = torch.broadcast_tensors(*offset)
    ...         return torch.stack([torch.ones_like(y), y, x], dim=-1)
    >>> decoder = Plane()
    >>> latent = decoder.prepare(Features(torch.rand(1, 9, 4, 5), (4, 5)), None, {})
    >>> decoder.query(latent, torch.zeros(1, 6, 2), None, {}).shape
    torch.Size([1, 6, 3])
    """

    local_ensemble: bool = False
    average: bool = False
    skip: PictureSkip = "none"
    ties: Ties = "even"
    exports = True

    def coefficients(self, map: Tensor) -> Tensor:
        """``(B, in_channels, *cells)`` -> ``(B, out_channels * K, *cells)``, the functions of channel 0 first."""
        raise NotImplementedError(f"{type(self).__name__} does not implement coefficients()")

    def stored(self, map: Tensor) -> Tensor:
        """What a latent keeps of each cell, ``(B, S, *cells)``: the coefficients, or fewer numbers that
        :meth:`opened` makes them of.
        """
        return self.coefficients(map)

    def opened(self, rows: Tensor) -> Tensor:
        """The coefficients ``(..., out_channels * K)`` of what is stored, ``(..., S)``, float32."""
        return rows

    def table(self, offset: Sequence[Tensor], cell: Tensor | None) -> Tensor:
        """The functions ``(*shape, K)`` at offsets from a cell's centre.

        Args:
            offset: float32 per axis, in half cells (within ±1 inside the cell); they broadcast to ``shape``.
            cell: the output pixel's size in cells times 2, ``(*shape or ones, d)``; None if unused or not given.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement table()")

    @property
    def reads_picture(self) -> bool:
        return self.skip != "none"

    def prepare(self, features: Features, inputs: Inputs, conditions: Mapping[str, Condition]) -> Latent:
        picture = picture_rows(inputs, self.out_channels) if self.reads_picture else None
        rows = Rows.of(self.stored(features.map), features.origin, features.grid)
        return Latent(rows, features.extent, picture)

    def pack(self, latent: Latent) -> Tensor:
        packed: Tensor = latent.features.rows.unflatten(1, latent.features.cells)
        return packed

    def unpack(self, packed: Tensor, inputs: Inputs | None) -> Latent:
        grid = tuple(packed.shape[1:-1])
        latent = Latent(Rows(packed.flatten(1, -2), grid, (0,) * len(grid), grid), grid)
        return latent if inputs is None else replace(latent, extra=picture_rows(inputs, self.out_channels))

    def query(self, latent: Latent, coords: Tensor, cell: Tensor | None, conditions: Mapping[str, Tensor]) -> Tensor:
        source, per_axis = latent.features, coords.float().unbind(-1)
        near = combine(self._axes_near(source, per_axis), source.cells, source.origin)
        cell = in_half_cells(cell, source.grid)
        total: Tensor | None = None
        with in_float32(source.rows.device.type):
            for index, offset, weight in zip(near.row, near.offset, near.weight, strict=True):
                rows = self.opened(source.take(index).float()).unflatten(0, (len(source.rows), -1))
                table = self.tabulate(offset.unbind(-1), cell)
                if self.local_ensemble:
                    table = table * weight[..., None]
                coefficients = rows.unflatten(-1, (self.out_channels, -1))
                values = torch.matmul(coefficients, table[..., None])[..., 0]
                total = values if total is None else total + values
        assert total is not None
        return total if latent.extra is None else total + self.skipped(latent, per_axis)

    def query_grid(
        self, latent: Latent, axes: Sequence[Tensor], cell: Tensor | None, conditions: Mapping[str, Tensor]
    ) -> Tensor:
        regular = all(bool((axis[1:] >= axis[:-1]).all()) for axis in axes)
        if not regular or (cell is not None and cell.shape[:2] != (1, 1)):
            return super().query_grid(latent, axes, cell, conditions)
        source = latent.features
        near = self._axes_near(source, [axis.float() for axis in axes])
        cell = in_half_cells(cell, source.grid)
        values: Tensor | None = None
        with in_float32(source.rows.device.type):
            for sides in product(range(near[0].cell.shape[0]), repeat=len(axes)):
                runs = [
                    _runs(axis, side, origin, cells, n, shareable=not self.local_ensemble)
                    for axis, side, origin, cells, n in zip(
                        near, sides, source.origin, source.cells, source.grid, strict=True
                    )
                ]
                share = self._corner(source, runs, cell)
                values = share if values is None else values + share
        assert values is not None
        if latent.extra is None:
            return values
        picture = self.skipped(latent, open_mesh([axis.float() for axis in axes])).transpose(1, 2)
        return values + picture.reshape(values.shape)

    def widths(self, cell: Tensor) -> Tensor:
        """The factor ``(*shape or ones, K)`` by which the mean of each function over an output pixel around a point is
        smaller than the function there; ``cell`` as in :meth:`table`. For decoders with :attr:`average`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement widths()")

    def tabulate(self, offset: Sequence[Tensor], cell: Tensor | None) -> Tensor:
        """:meth:`table`, or the means over the output pixel if :attr:`average`."""
        table = self.table(offset, cell)
        return table if cell is None or not self.average else table * self.widths(cell)

    def at_scale(self, scale: int) -> Enlarging:
        return Enlarging(self, scale)

    def skipped(self, latent: Latent, per_axis: Sequence[Tensor]) -> Tensor:
        """The input picture ``(B, N, C)`` at queries given per axis, as the skip adds it."""
        assert self.skip != "none"
        if self.skip == "nearest":
            return self.shifted(read_nearest(latent.extra, latent.extent, per_axis, ties=self.ties))
        return self.shifted(read_linear(latent.extra, latent.extent, per_axis))

    def shifted(self, picture: Tensor) -> Tensor:
        """What is added of the picture's values ``(..., C)``: themselves."""
        return picture

    def _axes_near(self, source: Rows, per_axis: Sequence[Tensor]) -> list[AxisNeighbours]:
        return [
            axis_neighbours(x, n, ensemble=self.local_ensemble, ties=self.ties)
            for x, n in zip(per_axis, source.grid, strict=True)
        ]

    def _corner(self, source: Rows, runs: Sequence[_Runs], cell: Tensor | None) -> Tensor:
        """One corner's share ``(B, C, H, W)`` of a grid."""
        rows, columns = runs
        index = (rows.cells[:, None] * source.cells[1] + columns.cells).flatten()
        own = self.opened(source.rows.index_select(1, index).float())
        own = own.unflatten(-1, (self.out_channels, -1))  # (B, U, C, K)
        if rows.shared and columns.shared:
            offset = rows.offset[:1, :, None], columns.offset[:1, None, :]
            table = self.tabulate(offset, None if cell is None else cell[:, :1, None])  # (1, m, n, K)
            values: Tensor = torch.matmul(own, table.flatten(0, 2).t())
        else:
            offset = rows.offset[:, None, :, None], columns.offset[None, :, None, :]
            table = self.tabulate(offset, None if cell is None else cell[:, :1, None, None])
            weight = rows.weight[:, None, :, None] * columns.weight[None, :, None, :]
            table = (table * weight[..., None]).flatten(2, 3)  # (u or 1, v or 1, m * n, K)
            table = table.expand(len(rows.cells), len(columns.cells), -1, -1).flatten(0, 1)
            values = torch.matmul(own, table.transpose(1, 2))
        m, n = rows.offset.shape[1], columns.offset.shape[1]
        values = values.unflatten(1, (len(rows.cells), -1)).unflatten(-1, (m, n))  # (B, h, w, C, m, n)
        values = values.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
        if not rows.full:
            values = values.index_select(2, rows.place)
        result: Tensor = values if columns.full else values.index_select(3, columns.place)
        return result


class _Runs(NamedTuple):
    """An ascending axis of queries, sorted by the cell that each reads."""

    cells: Tensor
    """``(u,)`` int64: the cells that are read, as stored."""
    offset: Tensor
    """``(u, m)``: the offsets of at most ``m`` queries in each, or ``(1, m)`` that all cells share."""
    weight: Tensor
    """``(u, m)``: the shares of the side."""
    place: Tensor
    """``(n,)`` int64: where each query is among the ``u * m`` places."""
    shared: bool
    full: bool
    """Whether the queries fill all places in order."""


def _runs(near: AxisNeighbours, side: int, origin: int, stored: int, grid: int, *, shareable: bool) -> _Runs:
    cell, offset, weight = (x[side].flatten() for x in near)
    cells, which, counts = torch.unique_consecutive(cell, return_inverse=True, return_counts=True)
    widest = int(counts.max())
    index = (cells - origin).clamp(0, stored - 1)
    if shareable:
        ordered, order = offset.sort()
        fresh = (ordered[1:] - ordered[:-1] > SAME_OFFSET * grid).to(torch.int64)
        phase = torch.zeros_like(which)
        phase[order[1:]] = fresh.cumsum(0)
        if int(phase.max()) + 1 == widest:
            zeros = offset.new_zeros(widest)
            of_phase = torch.bincount(phase, minlength=widest)
            middle = zeros.scatter_add(0, phase, offset) / of_phase
            if float((offset - middle[phase]).abs().max()) <= SAME_OFFSET * grid:
                place = which * widest + phase
                full = len(place) == len(cells) * widest
                return _Runs(index, middle[None], torch.ones_like(middle)[None], place, True, full)
    rank = torch.arange(len(cell), device=cell.device) - (counts.cumsum(0) - counts)[which]
    place = which * widest + rank
    empty = offset.new_zeros(len(cells) * widest)
    offsets, weights = (empty.scatter(0, place, x).unflatten(0, (-1, widest)) for x in (offset, weight))
    return _Runs(index, offsets, weights, place, False, len(place) == len(empty))


def check_skip_of_basis(skip: Any) -> PictureSkip:
    """``skip``, if it is one of ``nearest``, ``bilinear`` and ``none``."""
    if skip not in get_args(PictureSkip):
        raise ValueError(f"skip is 'nearest', 'bilinear' or 'none'; received {skip!r}")
    kind: PictureSkip = skip
    return kind


def check_average(name: str, average: bool, local_ensemble: bool) -> bool:
    """``average``, if it goes with ``local_ensemble``; ``name`` is the decoder's.

    Raises:
        ValueError: both are set.
    """
    if average and local_ensemble:
        raise ValueError(f"{name} averages the function of one cell: average=true needs local_ensemble=false")
    return average


def mean_of_harmonics(width: Tensor, count: int) -> Tensor:
    """By how much the means of :func:`harmonics` over an interval of ``width`` (of the angle) are smaller than their
    values in its middle: ``(*shape, count)``.

    >>> mean_of_harmonics(torch.tensor(0.0), 3).tolist()
    [1.0, 1.0, 1.0]
    """
    order = (torch.arange(count, device=width.device) + 1) // 2
    return torch.sinc(width[..., None] * order / (2 * math.pi))


def harmonics(angle: Tensor, count: int) -> Tensor:
    """``[1, cos a, sin a, cos 2a, sin 2a, ...]`` ``(*shape, count)`` of angles ``(*shape)``.

    >>> harmonics(torch.zeros(2), 4).tolist()
    [[1.0, 1.0, 0.0, 1.0], [1.0, 1.0, 0.0, 1.0]]
    """
    multiples = torch.arange(1, count // 2 + 1, device=angle.device) * angle[..., None]
    pairs = torch.stack([multiples.cos(), multiples.sin()], dim=-1).flatten(-2)
    return torch.cat([torch.ones_like(angle)[..., None], pairs], dim=-1)[..., :count]


def outer(along_y: Tensor, along_x: Tensor) -> Tensor:
    """The products of functions of each axis, ``(*shape, P)`` and ``(*shape, Q)`` -> ``(*shape, P * Q)``."""
    return (along_y[..., :, None] * along_x[..., None, :]).flatten(-2)


def turned_waves(rows: Tensor, components: int) -> Tensor:
    """The coefficients of sines and cosines, ``(..., C * 2 K)``, of waves' phases and amplitudes, ``(..., K + C * K)``.

    ``A sin(a + phase) = A cos(phase) sin(a) + A sin(phase) cos(a)``.

    >>> turned_waves(torch.tensor([0.0, 2.0]), components=1).tolist()
    [2.0, 0.0]
    """
    phases, amplitudes = rows.tensor_split([components], dim=-1)
    amplitudes = amplitudes.unflatten(-1, (-1, components))
    parts = [amplitudes * phases.cos()[..., None, :], amplitudes * phases.sin()[..., None, :]]
    return torch.cat(parts, dim=-1).flatten(-2)

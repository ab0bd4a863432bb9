"""The local ensemble (Chen et al., CVPR 2021, eq. 4), shared by LIIF and its relatives.

``s(x) = sum_t (A_t / A) f(z_t, x - v_t)``: the 2^d nearest cells each make a prediction, blended by opposite area. A
member of the family writes ``prepare`` (which calls :meth:`LocalEnsembleDecoder.lay_out`) and ``local``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from implicitkit.coordinates import Size, open_mesh
from implicitkit.decoders.base import Decoder, Inputs
from implicitkit.decoders.mlp import weights_prepared_once
from implicitkit.decoders.neighbours import Neighbours, axis_linear, axis_neighbours, combine
from implicitkit.decoders.rows import Rows
from implicitkit.encoders.base import Features
from implicitkit.images.filling import FILLS
from implicitkit.kernels.engines import Engine

CPU_CACHE = 2 << 20  # bytes of one layer's values
CPU_KEPT = 24 << 20  # the same where a graph is kept: more than 32 MiB at once the C library gives back and gets anew
SKIPS = ("none", "bilinear", "harmonic", "biharmonic")
Skip = Literal["none", "bilinear", "harmonic", "biharmonic"]
"""What is added to a decoder's output: nothing, the input picture interpolated linearly, or that with its holes filled
(:mod:`implicitkit.images.harmonic`)."""
NARROW = 16  # values per point, at most, of which a large block is little memory


@dataclass(frozen=True)
class Latent:
    """What a local-ensemble decoder keeps of a picture: its rows, and anything else a member needs."""

    features: Rows
    extent: Size
    extra: Any = None


class LocalEnsembleDecoder(Decoder):
    """Finds the 2^d nearest cells, evaluates ``local`` at the offset to each and blends by opposite area.

    With ``local_ensemble`` off, only the nearest cell is asked.
    """

    local_ensemble: bool = True
    widest: int | None = None
    """Values of the widest layer at a point, which decide how many points are evaluated at a time; None: of a row."""

    def local(self, rows: Tensor, offset: Tensor, cell: Tensor | None, point: Tensor | None) -> Tensor:
        """One cell's prediction for each query.

        Args:
            rows: ``(M, K)`` the latent rows of the cell.
            offset: ``(M, d)`` float32, the query minus the cell's centre, in cells.
            cell: ``(M or 1, d)`` float32, the output pixel's size in cells; None if unused.
            point: ``(M or 1, P)`` what :meth:`at_point` returned; None by default.

        Returns:
            ``(M, out_channels)``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement local()")

    def at_point(self, cell: Tensor | None, conditions: Mapping[str, Tensor]) -> Tensor | None:
        """What depends on the query alone, computed once and not per neighbour: ``(M or 1, P)``, or None.

        ``conditions`` holds ``(M, C)`` per name.
        """
        return None

    def finish(self, latent: Latent, per_axis: Sequence[Tensor], blended: Tensor) -> Tensor:
        """A last step on the blended values ``(B, N, out)`` (a skip connection). ``per_axis`` broadcasts to the
        queries.
        """
        return blended

    def engine(self, like: Tensor) -> Engine | None:
        """The kernel (:mod:`implicitkit.kernels`) that evaluates the whole ensemble in one pass here and now, for a
        latent on the device of ``like``; None, the default, where the plain path is to be taken.
        """
        return None

    def in_one_pass(
        self, engine: Engine, latent: Latent, per_axis: Sequence[Tensor], cell: Tensor | None, point: Tensor | None
    ) -> Tensor | None:
        """What the neighbours' predictions blend to, ``(B, N, out)``, computed by ``engine``; None, the default, if it
        turns out not to run.

        ``per_axis`` broadcasts to the queries; ``cell`` ``(1, d)`` is in cells, the same for all, or None; ``point`` as
        in :meth:`local`.
        """
        return None

    def is_fused(self, picture: Tensor) -> bool:
        # values of other fields, and embeddings, are too much memory for large blocks
        small = not self.queried and self.out_channels <= NARROW
        return small and self._knows_all("in_one_pass") and self.engine(picture) is not None

    def predictor(
        self,
        latent: Latent,
        near: Neighbours,
        per_axis: Sequence[Tensor],
        cell: Tensor | None,
        point: Tensor | None,
        spans: Sequence[slice],
    ) -> Callable[[int, slice], Tensor]:
        """A function of a corner and one of the ``spans`` of the queries (of a grid: whole rows): what that neighbour
        predicts for them, ``(B * n, out)``.

        This one calls :meth:`local`; a member may have a faster way for a grid. ``cell`` and ``point`` as in there.
        """
        source = latent.features
        batch, points = len(source.rows), near.row.shape[2]
        taken: dict[tuple[int, int], Tensor] = {}
        if torch.is_grad_enabled() and len(spans) > 1:
            wanted = [(corner, span) for span in spans for corner in range(len(near.row))]
            rows = source.take_each([near.row[corner][:, span] for corner, span in wanted])
            taken = {(corner, span.start): each for (corner, span), each in zip(wanted, rows, strict=True)}

        def predict(corner: int, span: slice) -> Tensor:
            rows = taken.pop((corner, span.start)) if taken else source.take(near.row[corner][:, span])
            offset = near.offset[corner][:, span].expand(batch, -1, -1).flatten(0, 1)
            own_cell, own_point = (_of(values, span, batch, points) for values in (cell, point))
            return self.local(rows, offset, own_cell, own_point)

        return predict

    def lay_out(self, features: Features, projected: Tensor, extra: Any = None) -> Latent:
        """The latent of a map ``projected`` ``(B, K, *cells)`` made of ``features.map``, cell by cell."""
        return Latent(Rows.of(projected, features.origin, features.grid), features.extent, extra)

    def query(self, latent: Latent, coords: Tensor, cell: Tensor | None, conditions: Mapping[str, Tensor]) -> Tensor:
        per_axis = list(coords.float().unbind(-1))
        flat = {name: value.flatten(0, 1) for name, value in conditions.items()}
        return self._blend(latent, per_axis, cell, flat)

    def query_grid(
        self, latent: Latent, axes: Sequence[Tensor], cell: Tensor | None, conditions: Mapping[str, Tensor]
    ) -> Tensor:
        size = [len(axis) for axis in axes]
        if cell is not None and cell.shape[1] != 1:  # one cell per point: nothing is separable any more
            return super().query_grid(latent, axes, cell, conditions)
        per_axis = open_mesh(axes)
        flat = {name: value.flatten(2).transpose(1, 2).flatten(0, 1) for name, value in conditions.items()}
        values = self._blend(latent, per_axis, cell, flat)
        return values.transpose(1, 2).reshape(*values.shape[::2], *size)

    def _blend(
        self, latent: Latent, per_axis: Sequence[Tensor], cell: Tensor | None, conditions: Mapping[str, Tensor]
    ) -> Tensor:
        source = latent.features
        batch = source.rows.shape[0]
        alike = cell is None or cell.shape[:2] == (1, 1)
        if alike:
            cell = self._in_cells(cell, source.grid, batch, 1)
            point = self.at_point(cell, conditions)
            at_once = self._at_once(latent, per_axis, cell, point)
            if at_once is not None:
                return self.finish(latent, per_axis, at_once)
        near = self._neighbours(source, per_axis)
        points, width = near.row.shape[2], per_axis[-1].shape[-1] if per_axis[0].ndim > 2 else 1
        if not alike:
            cell = self._in_cells(cell, source.grid, batch, points)
            point = self.at_point(cell, conditions)
        predictor = self.predictor if self._knows_all("predictor") else partial(LocalEnsembleDecoder.predictor, self)
        spans, parts = self._spans(source.rows, points, width), []
        predict = predictor(latent, near, per_axis, cell, point, spans)
        with weights_prepared_once():
            for span in spans:
                blended: Tensor | None = None
                for corner, weight in enumerate(near.weight):
                    share = predict(corner, span).float().unflatten(0, (batch, -1)) * weight[:, span, None]
                    blended = share if blended is None else blended.add_(share)
                assert blended is not None
                parts.append(blended)
        return self.finish(latent, per_axis, parts[0] if len(parts) == 1 else torch.cat(parts, dim=1))

    def _at_once(
        self, latent: Latent, per_axis: Sequence[Tensor], cell: Tensor | None, point: Tensor | None
    ) -> Tensor | None:
        engine = self.engine(latent.features.rows) if self._knows_all("in_one_pass") else None
        return None if engine is None else self.in_one_pass(engine, latent, per_axis, cell, point)

    def _knows_all(self, faster: str) -> bool:
        """Whether the method ``faster`` computes what :meth:`local` and :meth:`at_point` do: not if a subclass of the
        one that wrote it has one of them of its own.
        """
        wrote = {name: next(c for c in type(self).__mro__ if name in vars(c)) for name in (faster, "local", "at_point")}
        return all(issubclass(wrote[faster], owner) for owner in wrote.values())

    def _spans(self, rows: Tensor, points: int, width: int) -> list[slice]:
        """Points to evaluate at a time: on a CPU so many that their values stay in the cache between one layer and the
        next or, where a graph is kept, that their memory is used again; whole rows of ``width`` points.
        """
        if rows.device.type == "cpu" and not torch.compiler.is_compiling():
            most = CPU_KEPT if torch.is_grad_enabled() else CPU_CACHE
            step = max(1, most // (4 * rows.shape[0] * (self.widest or rows.shape[-1]) * width)) * width
            if step < points:
                return [slice(start, start + step) for start in range(0, points, step)]
        return [slice(None) if torch.compiler.is_compiling() else slice(0, points)]  # of any number

    def _neighbours(self, source: Rows, per_axis: Sequence[Tensor]) -> Neighbours:
        """The corners of all queries, flattened to ``(corners, B or 1, N[, d])``."""
        found = [
            axis_neighbours(x, n, ensemble=self.local_ensemble) for x, n in zip(per_axis, source.grid, strict=True)
        ]
        near = combine(found, source.cells, source.origin)
        return Neighbours(near.row.flatten(2), near.offset.flatten(2, -2), near.weight.flatten(2))

    def _in_cells(self, cell: Tensor | None, grid: Size, batch: int, points: int) -> Tensor | None:
        """The output pixel's size in cells of the feature grid: ``(1, d)`` if the same for all, else ``(B * N, d)``."""
        if cell is None or not self.uses_cell:
            return None
        cell = cell.float() * torch.tensor(grid, dtype=torch.float32, device=cell.device)
        if cell.shape[:2] == (1, 1):
            return cell.reshape(1, -1)
        return cell.expand(batch, points, -1).reshape(-1, cell.shape[-1])


def _of(values: Tensor | None, span: slice, batch: int, points: int) -> Tensor | None:
    """The part of ``values`` ``(B * N, K)`` that belongs to the points of ``span``; one row serves all."""
    if values is None or values.shape[0] == 1:
        return values
    return values.reshape(batch, points, -1)[:, span].flatten(0, 1)


def check_skip(skip: str) -> str | None:
    """The :attr:`~implicitkit.decoders.base.Decoder.fill` that ``skip`` asks for.

    Raises:
        ValueError: it is not one of :data:`SKIPS`.
    """
    if skip not in SKIPS:
        raise ValueError(f"skip is one of {', '.join(SKIPS)}; received {skip!r}")
    return skip if skip in FILLS else None


def start_at_zero(layer: nn.Module) -> None:
    """Set a linear layer to zero: training then begins at what is added to its output."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def picture_rows(inputs: Inputs, out_channels: int) -> Rows:
    """The input picture, laid out to be read and added to a decoder's values (a skip connection).

    Raises:
        ValueError: it has another number of channels than there are values per point.
    """
    channels = inputs.picture.shape[1]
    if channels != out_channels:
        raise ValueError(
            f"the skip adds the picture, which has {channels} channels, to {out_channels} values per point; set "
            f"out_channels={channels} or skip='none'"
        )
    return Rows.of(inputs.picture, inputs.origin, inputs.size)


def read_linear(picture: Rows, extent: Size, per_axis: Sequence[Tensor]) -> Tensor:
    """The picture ``(B, N, C)`` interpolated linearly at queries given per axis in ``extent`` (pixels), borders
    repeated.
    """
    found = [axis_linear(x, e, n) for x, e, n in zip(per_axis, extent, picture.grid, strict=True)]
    near = combine(found, picture.cells, picture.origin)
    index, weights = near.row.flatten(2), near.offset.flatten(2, -2).prod(-1)
    batch, points = picture.rows.shape[0], index.shape[2]
    total: Tensor | None = None
    for corner, weight in zip(index, weights, strict=True):
        share = picture.take(corner).float().unflatten(0, (batch, points)) * weight[..., None]
        total = share if total is None else total + share
    assert total is not None
    return total

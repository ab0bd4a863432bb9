"""LIIF, the local implicit image function (Chen, Liu, Wang; CVPR 2021)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from implicitkit.decoders.base import Condition, Inputs, in_float32
from implicitkit.decoders.local_ensemble import (
    Latent,
    LocalEnsembleDecoder,
    Skip,
    check_skip,
    picture_rows,
    read_linear,
    start_at_zero,
)
from implicitkit.decoders.mlp import MLP, begins_with_relu, dtype_of_products, packed
from implicitkit.decoders.neighbours import Neighbours
from implicitkit.decoders.separable import Grid, GridSums
from implicitkit.encoders.base import Features, for_convolutions
from implicitkit.kernels.engines import Engine, engine_for, linears
from implicitkit.kernels.places import Places

CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class LIIF(LocalEnsembleDecoder):
    """An MLP reads the features around the nearest cells, the offset to each and the output pixel's size.

    The MLP's input is ``[3^d neighbourhood of features, offset (d), cell (d)]`` in the order of
    ``torch.nn.functional.unfold``, so the authors' weights fit as they are. The neighbourhood is never built: the
    feature part of the first linear layer *is* a 3^d convolution. It runs once per feature pixel in :meth:`prepare`;
    a query adds the part that is linear in offset and cell.

    Args:
        in_channels: features per cell, ``D``.
        out_channels: values per point.
        hidden: widths of the hidden layers; ``[]`` makes the decoder linear.
        local_ensemble: blend the 2^d nearest cells (else: the nearest one alone).
        feat_unfold: read the 3^d neighbourhood of each cell (else: the cell alone).
        cell_decode: tell the MLP the output pixel's size.
        skip: ``"bilinear"`` adds the linearly interpolated input picture to the output, as LTE does; the paper
            has ``"none"``. ``"harmonic"`` and ``"biharmonic"`` add it with its holes filled
            (:mod:`implicitkit.images.harmonic`), and the network starts at zero.
        ndim: 1, 2 or 3.
    """

    def __init__(
        self,
        in_channels: int = 64,
        out_channels: int = 3,
        hidden: Sequence[int] = (256, 256, 256, 256),
        local_ensemble: bool = True,
        feat_unfold: bool = True,
        cell_decode: bool = True,
        skip: Skip = "none",
        ndim: int = 2,
    ) -> None:
        super().__init__()
        self.fill = check_skip(skip)
        if min(in_channels, out_channels, *hidden, 1) < 1 or ndim not in CONVOLVE:
            raise ValueError(
                f"liif takes positive widths and ndim 1, 2 or 3; received in_channels={in_channels}, "
                f"out_channels={out_channels}, hidden={list(hidden)}, ndim={ndim}"
            )
        self.in_channels, self.out_channels, self.ndim = in_channels, out_channels, ndim
        self.local_ensemble, self.feat_unfold = local_ensemble, feat_unfold
        self.uses_cell, self.skip = cell_decode, skip
        self.reach = max(1, int(local_ensemble) + int(feat_unfold))
        self.read = in_channels * (3**ndim if feat_unfold else 1)  # MLP inputs that are features
        widths = [*hidden, out_channels]
        self.first = nn.Linear(self.read + ndim * (1 + cell_decode), widths[0])
        rest: list[nn.Module] = []
        for before, after in pairwise(widths):
            rest += [nn.ReLU(inplace=True), nn.Linear(before, after)]
        self.rest = MLP(*rest)
        if self.fill is not None:
            start_at_zero(self.rest[-1] if rest else self.first)

    def prepare(self, features: Features, inputs: Inputs, conditions: Mapping[str, Condition]) -> Latent:
        taps = (3 if self.feat_unfold else 1,) * self.ndim
        kernel = self.first.weight[:, : self.read].reshape(-1, self.in_channels, *taps)
        projected = CONVOLVE[self.ndim](for_convolutions(features.map), kernel, self.first.bias, padding=taps[0] // 2)
        picture = picture_rows(inputs, self.out_channels) if self.skip != "none" else None
        return self.lay_out(features, projected, extra=picture)

    def local(self, rows: Tensor, offset: Tensor, cell: Tensor | None, point: Tensor | None) -> Tensor:
        geometry = offset if cell is None else torch.cat([offset, cell.expand(offset.shape[0], -1)], dim=-1)
        with in_float32(rows.device.type):
            weight = self.first.weight[:, self.read :].float().t()
            if torch.is_grad_enabled():
                hidden = torch.addmm(rows.float(), geometry, weight).to(rows.dtype)
            else:  # the rows are a copy of the latent's, made for this call
                hidden = rows.float()
                torch.addmm(hidden, geometry, weight, out=hidden)
        values: Tensor = self.rest(hidden)
        return values

    def engine(self, like: Tensor) -> Engine | None:
        layers = linears(self.rest, nn.ReLU)
        return None if self.ndim != 2 or layers is None else engine_for(like, layers, self.first.out_features)

    def in_one_pass(
        self, engine: Engine, latent: Latent, per_axis: Sequence[Tensor], cell: Tensor | None, point: Tensor | None
    ) -> Tensor | None:
        """``point`` ``(B * N or 1, K)``, which a descendant may have, is added to the sums of the first layer."""
        source, layers = latent.features, linears(self.rest, nn.ReLU)
        assert layers is not None
        batch, shared = len(source.rows), None
        with in_float32(source.rows.device.type):
            geometry = self.first.weight[:, self.read :].float().t()
            constant = geometry.new_zeros(geometry.shape[1]) if cell is None else (cell @ geometry[2:])[0]
            if point is not None and len(point) == 1:
                constant = constant + point[0].float()
            elif point is not None:
                shared = point.unflatten(0, (batch, -1))
            where = Places.of(per_axis, source, ensemble=self.local_ensemble)
        return engine.liif(source, where, geometry[:2], constant, packed(engine, layers), shared)

    def predictor(
        self,
        latent: Latent,
        near: Neighbours,
        per_axis: Sequence[Tensor],
        cell: Tensor | None,
        point: Tensor | None,
        spans: Sequence[slice],
    ) -> Callable[[int, slice], Tensor]:
        source = latent.features
        grid = Grid.of(source, per_axis, ensemble=self.local_ensemble)
        alike = cell is None or grid is None or len(cell) == 1
        if grid is None or not alike or not grid.saves() or not begins_with_relu(self.rest):
            return super().predictor(latent, near, per_axis, cell, point, spans)
        dtype = dtype_of_products(geometry := self.first.weight[:, self.read :].float())
        with in_float32(source.rows.device.type):
            constant = geometry.new_zeros(len(geometry)) if cell is None else geometry[:, 2:] @ cell[0]
            sums = GridSums(grid, geometry[:, :2], constant, dtype)
        width, rest = grid.columns.shape[1], self.rest[1:]

        def predict(corner: int, span: slice) -> Tensor:
            values: Tensor = rest(sums(corner, slice(span.start // width, span.stop // width)))
            return values

        return predict

    def finish(self, latent: Latent, per_axis: Sequence[Tensor], blended: Tensor) -> Tensor:
        if latent.extra is None:
            return blended
        return blended + read_linear(latent.extra, latent.extent, per_axis)

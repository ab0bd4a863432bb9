"""LMF, the latent modulated function (He, Jin; CVPR 2024), applied to LIIF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from implicitkit.coordinates import Size
from implicitkit.decoders.base import Condition, Inputs, Question, in_float32, never_finer
from implicitkit.decoders.liif import CONVOLVE
from implicitkit.decoders.local_ensemble import Latent, LocalEnsembleDecoder
from implicitkit.decoders.mlp import weight_of
from implicitkit.encoders.base import Features
from implicitkit.encoders.edsr import CONVOLUTIONS


@dataclass(frozen=True)
class Pending:
    """A picture whose latent MLP waits for the output pixel's size: the values of its first layer."""

    first: Tensor
    features: Features


class LMF(LocalEnsembleDecoder):
    """A wide network runs once per feature and modulates a narrow one, which runs once per point.

    The wide *latent* MLP reads the 3^d neighbourhood of a cell and returns a short code ``c`` and, for each hidden
    layer ``i`` of the *render* MLP, a scale ``a_i`` and a shift ``b_i``. At a query with the offset ``d`` to the cell
    and the output pixel's size ``p``, both in LIIF's units,

        ``h_0 = [c, d, p]``,  ``h_i = relu((1 + a_i) * (W_i h_(i-1) + w_i) + b_i)``,  ``s = W h_depth + w``

    and the 2^d nearest cells are blended as LIIF's are ("LM-LIIF"). At the default widths a point of a picture costs
    6 thousand multiplications for all four cells; LIIF's, as its paper writes it, 1.4 million.

    :meth:`prepare` runs the latent MLP, whose first layer is a 3^d convolution, and the part of the first render layer
    that does not depend on ``d`` and ``p``.

    Differences from the paper: its latent MLP reads the output pixel's size too, which binds a latent to one size;
    here only the render MLP reads it, unless ``latent_cell``, so one latent serves every size. Controllable multi-
    scale rendering, which skips points where the modulations are weak, is left out. The paper's networks are 2-D; the
    equations hold for any.

    Args:
        in_channels: features per cell.
        out_channels: values per point.
        hidden: width of the render MLP, and of the code.
        depth: hidden layers of the render MLP.
        latent_hidden: widths of the latent MLP's hidden layers; ``[]`` makes it linear.
        local_ensemble: blend the 2^d nearest cells (else: the nearest one alone).
        feat_unfold: let the latent MLP read the 3^d neighbourhood of each cell (else: the cell alone).
        cell_decode: tell the render MLP the output pixel's size.
        scale_max: the largest trained magnification; the default cell of ``render`` is never finer than at this one, as
            in the authors' test. None: no limit.
        ndim: 1, 2 or 3.
        latent_cell: tell the latent MLP the output pixel's size too, as published (the registered name ``lm_liif``). It
            then runs once per question; where the points of a call differ in size, it is told their mean.

    >>> LMF(in_channels=8, hidden=4, depth=2).latent[-1].out_channels  # a code, 2 scales and 2 shifts of 4
    20
    """

    exports = True

    def __init__(
        self,
        in_channels: int = 64,
        out_channels: int = 3,
        hidden: int = 16,
        depth: int = 6,
        latent_hidden: Sequence[int] = (208,),
        local_ensemble: bool = True,
        feat_unfold: bool = True,
        cell_decode: bool = True,
        scale_max: float | None = 4.0,
        ndim: int = 2,
        latent_cell: bool = False,
    ) -> None:
        super().__init__()
        self.exports = not latent_cell
        if min(in_channels, out_channels, hidden, depth, *latent_hidden) < 1 or ndim not in CONVOLVE:
            raise ValueError(
                "lmf takes positive widths and depth and ndim 1, 2 or 3; received "
                f"in_channels={in_channels}, out_channels={out_channels}, hidden={hidden}, depth={depth}, "
                f"latent_hidden={list(latent_hidden)}, ndim={ndim}"
            )
        if latent_cell and not cell_decode:
            raise ValueError("latent_cell=true tells the latent MLP the output pixel's size; it needs cell_decode=true")
        if scale_max is not None and not scale_max > 0:
            raise ValueError(f"scale_max is a positive magnification, or None; received {scale_max}")
        self.in_channels, self.out_channels, self.ndim = in_channels, out_channels, ndim
        self.hidden, self.depth, self.scale_max = hidden, depth, scale_max
        self.local_ensemble, self.uses_cell = local_ensemble, cell_decode
        self.reach = max(1, int(local_ensemble) + int(feat_unfold))

        conv, taps = CONVOLUTIONS[ndim], 3 if feat_unfold else 1
        widths = [*latent_hidden, hidden * (1 + 2 * depth)]
        latent: list[nn.Module] = [conv(in_channels, widths[0], taps, padding=taps // 2)]
        for before, after in pairwise(widths):
            latent += [nn.ReLU(inplace=True), conv(before, after, 1)]
        self.latent = nn.Sequential(*latent)
        self.latent_size = nn.Linear(ndim, widths[0], bias=False) if latent_cell else None
        self.first = nn.Linear(hidden + ndim * (1 + cell_decode), hidden)
        self.rest = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(depth - 1))
        self.last = nn.Linear(hidden, out_channels)

    def prepare(self, features: Features, inputs: Inputs, conditions: Mapping[str, Condition]) -> Latent | Pending:
        if self.latent_size is not None:
            return Pending(self.latent[0](features.map), features)
        return self._modulations(features, self.latent(features.map))

    def begin(self, latent: Latent | Pending, question: Question) -> Latent:
        if isinstance(latent, Latent):
            return latent
        assert question.cell is not None and self.latent_size is not None
        size = self.in_cells(question.cell.mean(1, keepdim=True), latent.features.grid, len(question.cell), 1)
        told = self.latent_size(size)
        wide = latent.first + told.reshape(*told.shape, *(1,) * self.ndim)
        for layer in self.latent[1:]:
            wide = (
                F.relu(wide) if isinstance(layer, nn.ReLU) else layer(wide)
            )  # not in place: questions share the first
        return self._modulations(latent.features, wide)

    def _modulations(self, features: Features, wide: Tensor) -> Latent:
        """The latent of what the latent MLP returned."""
        width = self.hidden
        code, scale, shift = wide.split([width, width * self.depth, width * self.depth], dim=1)
        scale = 1 + scale
        kernel = weight_of(self.first)[:, :width].reshape(width, width, *(1,) * self.ndim)
        known = CONVOLVE[self.ndim](code, kernel, self.first.bias) * scale[:, :width] + shift[:, :width]
        return self.to_latent(features, torch.cat([scale, known, shift[:, width:]], dim=1))

    def local(self, rows: Tensor, offset: Tensor, cell: Tensor | None, point: Tensor | None) -> Tensor:
        geometry = offset if cell is None else torch.cat([offset, cell.expand(offset.shape[0], -1)], dim=-1)
        scales, shifts = (part.split(self.hidden, dim=-1) for part in rows.chunk(2, dim=-1))
        with in_float32(rows.device.type):
            unknown = geometry @ weight_of(self.first)[:, self.hidden :].float().t()
            hidden = torch.addcmul(shifts[0].float(), scales[0].float(), unknown)
        x = F.relu(hidden.to(rows.dtype))
        for layer, scale, shift in zip(self.rest, scales[1:], shifts[1:], strict=True):
            x = F.relu(torch.addcmul(shift, scale, layer(x)))
        values: Tensor = self.last(x)
        return values

    def default_cell(self, cell: Tensor, extent: Size) -> Tensor:
        return never_finer(cell, extent, self.scale_max)


class LMLIIF(LMF):
    """LM-LIIF as published: :class:`LMF` whose latent MLP is told the output pixel's size.

    >>> LMLIIF(in_channels=8).latent_size.out_features
    208
    """

    def __init__(
        self, in_channels: int = 64, out_channels: int = 3, latent_cell: bool = True, **arguments: Any
    ) -> None:
        super().__init__(in_channels, out_channels, latent_cell=latent_cell, **arguments)

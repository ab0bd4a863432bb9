"""LMF, the latent modulated function (He, Jin; CVPR 2024), applied to LIIF and to LTE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from implicitkit.decoders.base import Condition, Inputs, Question, check_scale_max, in_float32
from implicitkit.decoders.liif import CONVOLVE
from implicitkit.decoders.local_ensemble import Latent, LocalEnsembleDecoder
from implicitkit.decoders.mlp import weight_of
from implicitkit.decoders.rows import Rows
from implicitkit.decoders.skip import Skip, SkipDecoder, check_skip, picture_rows, start_at_zero
from implicitkit.encoders.base import Features, for_convolutions
from implicitkit.encoders.edsr import CONVOLUTIONS


@dataclass(frozen=True)
class Pending:
    """A picture whose latent MLP waits for the output pixel's size: what it reads besides."""

    first: Tensor
    features: Features
    picture: Rows | None = None


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
        self.in_channels, self.out_channels, self.ndim = in_channels, out_channels, ndim
        self.hidden, self.depth, self.scale_max = hidden, depth, check_scale_max(scale_max)
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


class LMLIIF(LMF):
    """LM-LIIF as published: :class:`LMF` whose latent MLP is told the output pixel's size.

    >>> LMLIIF(in_channels=8).latent_size.out_features
    208
    """

    def __init__(
        self, in_channels: int = 64, out_channels: int = 3, latent_cell: bool = True, **arguments: Any
    ) -> None:
        super().__init__(in_channels, out_channels, latent_cell=latent_cell, **arguments)


class LMLTE(SkipDecoder):
    """LM-LTE: a wide network reads LTE's waves once per cell and modulates a narrow one that reads waves of its own.

    With LTE's amplitudes ``A``, frequencies ``F`` and phases ``phi`` of the output pixel's size, the latent MLP reads
    ``A * [cos(pi (F_y + F_x + phi)), sin ...]``, LTE's waves at the offset 1, and returns scales and shifts of the
    hidden layers of the render MLP, and amplitudes and frequencies of fewer waves. Those, at the query's offset and
    with phases of their own, are what the render MLP reads, ``h_i = relu((1 + a_i) * (W_i h_(i-1) + w_i) + b_i)``. The
    neighbours are blended by opposite area and the interpolated input picture is added.

    Args:
        in_channels: features per cell.
        out_channels: values per point; with a skip, the picture's channels.
        hidden: width of the render MLP, and its waves per cell, an even number.
        depth: hidden layers of the render MLP.
        latent_hidden: widths of the latent MLP's hidden layers.
        basis: waves per cell that the latent MLP reads, an even number.
        skip: as :class:`~implicitkit.decoders.lte.LTE`'s.
        scale_max: the largest trained magnification; the default cell of ``render`` is never finer. None: no limit.
        latent_cell: tell the latent MLP the output pixel's size, as published; where the points of a call differ in
            size, it is told their mean. Without it one latent serves every size.

    >>> sum(p.numel() for p in LMLTE(in_channels=64).parameters())
    270467
    """

    def __init__(
        self,
        in_channels: int = 64,
        out_channels: int = 3,
        hidden: int = 16,
        depth: int = 8,
        latent_hidden: Sequence[int] = (288,),
        basis: int = 128,
        skip: Skip = "bilinear",
        scale_max: float | None = 4.0,
        latent_cell: bool = True,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels, hidden, depth, basis, *latent_hidden) < 1 or hidden % 2 or basis % 2:
            raise ValueError(
                "lm_lte takes positive widths and depth, and even hidden and basis; received "
                f"in_channels={in_channels}, out_channels={out_channels}, hidden={hidden}, depth={depth}, "
                f"latent_hidden={list(latent_hidden)}, basis={basis}"
            )
        self.fill = check_skip(skip)
        self.in_channels, self.out_channels, self.skip = in_channels, out_channels, skip
        self.scale_max = check_scale_max(scale_max)
        self.hidden, self.depth, self.exports, self.reach = hidden, depth, not latent_cell, 2
        self.amplitude = nn.Conv2d(in_channels, basis, 3, padding=1)
        self.frequency = nn.Conv2d(in_channels, basis, 3, padding=1)
        self.latent_phase = nn.Linear(2, basis // 2, bias=False) if latent_cell else None
        layers: list[nn.Module] = []
        for before, after in pairwise([basis, *latent_hidden, 2 * hidden * (depth + 1)]):
            layers += [nn.ReLU(), nn.Conv2d(before, after, 1)]
        self.latent = nn.Sequential(*layers[1:])
        self.phase = nn.Linear(2, hidden // 2, bias=False)
        self.layers = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(depth))
        self.last = nn.Linear(hidden, out_channels)
        if self.fill is not None:
            start_at_zero(self.last)

    def prepare(self, features: Features, inputs: Inputs, conditions: Mapping[str, Condition]) -> Latent | Pending:
        picture = picture_rows(inputs, self.out_channels) if self.skip != "none" else None
        with in_float32(features.map.device.type):  # as LTE's: an offset multiplies what is made of them
            map = for_convolutions(features.map.float())
            amplitude, frequency = (
                F.conv2d(map, conv.weight.float(), None if conv.bias is None else conv.bias.float(), padding=1)
                for conv in (self.amplitude, self.frequency)
            )
            angle = torch.pi * (frequency[:, 0::2] + frequency[:, 1::2])
        pending = Pending(torch.cat([amplitude, angle], dim=1), features, picture)
        return pending if self.latent_phase is not None else self._modulations(pending, None)

    def begin(self, latent: Latent | Pending, question: Question) -> Latent:
        if isinstance(latent, Latent):
            return latent
        assert question.cell is not None
        cell = question.cell.mean(1, keepdim=True)
        return self._modulations(latent, self.in_cells(cell, latent.features.grid, len(cell)))

    def _modulations(self, pending: Pending, cell: Tensor | None) -> Latent:
        """The latent of a picture, for output pixels of the size ``cell`` ``(B or 1, 2)`` in cells."""
        half = len(pending.first[0]) // 3
        amplitude, angle = pending.first.split([2 * half, half], dim=1)
        with in_float32(angle.device.type):
            if cell is not None and self.latent_phase is not None:
                angle = angle + F.linear(cell, torch.pi * self.latent_phase.weight.float())[..., None, None]
            wide = amplitude * torch.cat([angle.cos(), angle.sin()], dim=1)
            for layer in self.latent:
                wide = F.relu(wide) if isinstance(layer, nn.ReLU) else _convolved(layer, wide)
        width = self.hidden * self.depth
        scale, rest, frequency = wide.split([width, width + self.hidden, self.hidden], dim=1)
        waves = torch.pi * torch.cat([frequency[:, 0::2], frequency[:, 1::2]], dim=1)
        return self.to_latent(pending.features, torch.cat([1 + scale, rest, waves], dim=1), pending.picture)

    def at_point(self, cell: Tensor | None, conditions: Mapping[str, Tensor]) -> Tensor | None:
        assert cell is not None
        with in_float32(cell.device.type):
            return F.linear(cell, torch.pi * self.phase.weight.float())

    def local(self, rows: Tensor, offset: Tensor, cell: Tensor | None, point: Tensor | None) -> Tensor:
        assert point is not None
        width, half = self.hidden * self.depth, self.hidden // 2
        scales, shifts, amplitude, along_y, along_x = rows.split([width, width, self.hidden, half, half], dim=-1)
        angle = torch.addcmul(along_y * offset[:, :1] + point, along_x, offset[:, 1:])
        x = (amplitude * torch.cat([angle.cos(), angle.sin()], dim=-1)).to(self.last.weight.dtype)
        parts = zip(self.layers, scales.split(self.hidden, dim=-1), shifts.split(self.hidden, dim=-1), strict=True)
        for layer, scale, shift in parts:
            x = F.relu(torch.addcmul(shift.to(x.dtype), scale.to(x.dtype), layer(x)))
        values: Tensor = self.last(x)
        return values


def _convolved(layer: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(layer, nn.Conv2d) and layer.bias is not None
    return F.conv2d(x, layer.weight.float(), layer.bias.float())

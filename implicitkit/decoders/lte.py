"""LTE, the local texture estimator (Lee, Jin; CVPR 2022), and its fast variant LTE+."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from implicitkit.decoders.base import Condition, Inputs, check_scale_max, in_float32
from implicitkit.decoders.local_ensemble import Latent
from implicitkit.decoders.mlp import MLP, is_hooked
from implicitkit.decoders.skip import Skip, SkipDecoder, check_skip, start_at_zero
from implicitkit.encoders.base import Features, for_convolutions


class LTE(SkipDecoder):
    """Each cell's features become waves; an MLP reads their values at the query.

    Two 3x3 convolutions make amplitudes ``A`` (``basis`` per cell) and frequencies ``F`` (``basis / 2`` pairs); a
    linear layer without bias makes phases ``phi`` of the output pixel's size in cells. For a neighbour at offset
    ``d`` in cells, the MLP reads ``A * [cos(pi (F d + phi)), sin(pi (F d + phi))]`` (their eq. 5 and 7). The
    neighbours are blended by opposite area, and the linearly interpolated input picture is added.
    Frequencies and phases stay float32 under autocast, as the offset would multiply their rounding errors.

    Args:
        in_channels: features per cell.
        out_channels: values per point; with the bilinear skip, the picture's channels.
        hidden: widths of the MLP's hidden layers; a number ``n`` stands for three layers of ``n``.
        basis: waves per cell, an even number (default: the first hidden width).
        local_ensemble: blend the four nearest cells (else: the nearest one alone).
        skip: the picture is added: ``"bilinear"`` as in the paper, ``"harmonic"``, ``"biharmonic"``; or ``"none"``.
        scale_max: the largest trained magnification; the default cell of ``render`` is never finer. None: no limit.

    >>> LTE(in_channels=8, hidden=[32, 32], basis=16).mlp[0].in_features
    16
    """

    exports = True
    has_phases = True
    pairs: ClassVar[Literal["consecutive", "halves"]] = "consecutive"

    def __init__(
        self,
        in_channels: int = 64,
        out_channels: int = 3,
        hidden: int | Sequence[int] = 256,
        basis: int | None = None,
        local_ensemble: bool = True,
        skip: Skip = "bilinear",
        scale_max: float | None = 4.0,
    ) -> None:
        super().__init__()
        self.fill = check_skip(skip)
        widths = [hidden] * 3 if isinstance(hidden, int) else list(hidden)
        basis = (widths or [256])[0] if basis is None else basis
        if min(in_channels, out_channels, basis, *widths) < 1 or basis % 2:
            given = f"{in_channels=}, {out_channels=}, hidden={widths}, {basis=}"
            raise ValueError(f"lte takes positive widths and an even basis; received {given}")
        self.in_channels, self.out_channels, self.basis = in_channels, out_channels, basis
        self.local_ensemble, self.skip, self.scale_max = local_ensemble, skip, check_scale_max(scale_max)
        self.reach = 1 + int(local_ensemble)  # the 3x3 convolution's cell, and the neighbour's
        self.amplitude = nn.Conv2d(in_channels, basis, 3, padding=1)
        self.frequency = nn.Conv2d(in_channels, basis, 3, padding=1)
        self.phase = nn.Linear(2, basis // 2, bias=False) if self.has_phases else None  # of the pixel's size
        self.mlp = MLP(*MLP.layers(basis, *widths, out_channels))
        if self.fill is not None:
            start_at_zero(self.mlp[-1])

    def prepare(self, features: Features, inputs: Inputs, conditions: Mapping[str, Condition]) -> Latent:
        if is_hooked(self.amplitude) or is_hooked(self.frequency):  # call them
            along = torch.pi * self._y_first(self.frequency(features.map).transpose(0, 1)).transpose(0, 1)
            waves = torch.cat([self.amplitude(features.map), along], dim=1).float()
            return self.to_latent(features, waves, self.picture(inputs))
        assert self.amplitude.bias is not None and self.frequency.bias is not None
        weight, bias = self._y_first(self.frequency.weight), self._y_first(self.frequency.bias)
        with in_float32(features.map.device.type):  # multiply by pi once, not at every point
            kernel = torch.cat([self.amplitude.weight.float(), torch.pi * weight.float()])
            offset = torch.cat([self.amplitude.bias.float(), torch.pi * bias.float()])
            waves = F.conv2d(for_convolutions(features.map.float()), kernel, offset, padding=1)
        return self.to_latent(features, waves, self.picture(inputs))

    def _y_first(self, values: Tensor) -> Tensor:
        """Frequencies with all y first, then all x, as LTE+ stores them."""
        return values if self.pairs == "halves" else rearrange(values, "(n yx) ... -> (yx n) ...", yx=2)

    def at_point(self, cell: Tensor | None, conditions: Mapping[str, Tensor]) -> Tensor | None:
        assert cell is not None and self.phase is not None
        if is_hooked(self.phase):
            return torch.pi * self.phase(cell).float()  # type: ignore[no-any-return]
        with in_float32(cell.device.type):
            return F.linear(cell, torch.pi * self.phase.weight.float())

    def local(self, rows: Tensor, offset: Tensor, cell: Tensor | None, point: Tensor | None) -> Tensor:
        assert point is not None
        amplitude, along_y, along_x = rows.split([self.basis, self.basis // 2, self.basis // 2], dim=-1)
        angle = torch.addcmul(along_y * offset[:, :1] + point, along_x, offset[:, 1:])
        wave = amplitude * torch.cat([angle.cos(), angle.sin()], dim=-1)
        return self.mlp(wave.to(self.amplitude.weight.dtype))  # type: ignore[no-any-return]


class LTEPlus(LTE):
    """LTE+, the authors' ``lte-fast``: the same network, its frequencies stored as all y, then all x."""

    pairs = "halves"

"""LTE, the local texture estimator (Lee, Jin; CVPR 2022), and its fast variant LTE+; and one of sinc damping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from implicitkit.coordinates import Size
from implicitkit.decoders.base import Condition, Inputs, in_float32, never_finer
from implicitkit.decoders.local_ensemble import Latent
from implicitkit.decoders.mlp import MLP, is_hooked
from implicitkit.decoders.rows import Rows
from implicitkit.decoders.skip import Skip, SkipDecoder, check_skip, picture_rows, start_at_zero
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
        skip: ``"bilinear"`` adds the interpolated input picture, as the paper does; ``"none"`` does not; ``"harmonic"``
            and ``"biharmonic"`` add it with its holes filled, and the network starts at zero.
        scale_max: the largest trained magnification; the default cell of ``render`` is never finer. None: no limit.

    >>> LTE(in_channels=8, hidden=[32, 32], basis=16).mlp[0].in_features
    16
    """

    exports = True
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
        if scale_max is not None and not 0 < scale_max < float("inf"):
            raise ValueError(f"scale_max is a positive magnification, or None; received {scale_max}")
        widths = [hidden] * 3 if isinstance(hidden, int) else list(hidden)
        basis = (widths or [256])[0] if basis is None else basis
        if min(in_channels, out_channels, basis, *widths) < 1 or basis % 2:
            received = f"in_channels={in_channels}, out_channels={out_channels}, hidden={widths}, basis={basis}"
            raise ValueError(f"lte takes positive widths and an even basis; received {received}")
        self.in_channels, self.out_channels, self.basis = in_channels, out_channels, basis
        self.local_ensemble, self.skip, self.scale_max = local_ensemble, skip, scale_max
        self.reach = 1 + int(local_ensemble)  # the 3x3 convolution's cell, and the neighbour's
        self.amplitude = nn.Conv2d(in_channels, basis, 3, padding=1)
        self.frequency = nn.Conv2d(in_channels, basis, 3, padding=1)
        self.phase = self.phases(basis // 2)
        self.mlp = MLP(*MLP.layers(basis, *widths, out_channels))
        if self.fill is not None:
            start_at_zero(self.mlp[-1])

    def phases(self, count: int) -> nn.Linear | None:
        """The layer from the output pixel's size in cells to ``count`` phases."""
        return nn.Linear(2, count, bias=False)

    def prepare(self, features: Features, inputs: Inputs, conditions: Mapping[str, Condition]) -> Latent:
        if is_hooked(self.amplitude) or is_hooked(self.frequency):  # call them
            along = torch.pi * self.frequency(features.map)
            along = torch.cat([along[:, 0::2], along[:, 1::2]], dim=1) if self.pairs == "consecutive" else along
            waves = torch.cat([self.amplitude(features.map), along], dim=1).float()
            return self.to_latent(features, waves, extra=self._picture(inputs))
        weight, bias = self.frequency.weight, self.frequency.bias
        assert bias is not None and self.amplitude.bias is not None
        if self.pairs == "consecutive":  # put all y frequencies first, then all x, as LTE+ stores them
            weight, bias = (torch.cat([value[0::2], value[1::2]]) for value in (weight, bias))
        with in_float32(features.map.device.type):  # multiply by pi once, not at every point
            kernel = torch.cat([self.amplitude.weight.float(), torch.pi * weight.float()])
            offset = torch.cat([self.amplitude.bias.float(), torch.pi * bias.float()])
            waves = F.conv2d(for_convolutions(features.map.float()), kernel, offset, padding=1)
        return self.to_latent(features, waves, extra=self._picture(inputs))

    def _picture(self, inputs: Inputs) -> Rows | None:
        return picture_rows(inputs, self.out_channels) if self.skip != "none" else None

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
        values: Tensor = self.mlp(wave.to(self.amplitude.weight.dtype))
        return values

    def default_cell(self, cell: Tensor, extent: Size) -> Tensor:
        return never_finer(cell, extent, self.scale_max)


class LTEPlus(LTE):
    """LTE+, the authors' ``lte-fast``: the same network, its frequencies stored as all y, then all x.

    Theirs is fast as it takes one cell per picture. Here both are equally fast, and take one cell per point too.

    >>> LTEPlus(in_channels=8, hidden=16).pairs
    'halves'
    """

    pairs = "halves"


class SincLTE(LTE):
    """LTE whose waves are averaged over the output pixel: the pixel's size damps each wave and does nothing else.

    The mean of ``cos(pi F d)`` over a pixel of the size ``p`` around ``d``, both in cells, is the same wave times
    ``sinc(F_y p_y / 2) * sinc(F_x p_x / 2)`` with ``sinc x = sin(pi x) / (pi x)``. That replaces LTE's learned phases:
    what is finer than the output pixel fades, at sizes never trained as well, and a cell of 0 gives the bare waves.

    >>> SincLTE(in_channels=8, hidden=16).phase is None
    True
    """

    def phases(self, count: int) -> None:
        return None

    def at_point(self, cell: Tensor | None, conditions: Mapping[str, Tensor]) -> None:
        return None

    def local(self, rows: Tensor, offset: Tensor, cell: Tensor | None, point: Tensor | None) -> Tensor:
        assert cell is not None
        amplitude, along_y, along_x = rows.float().split([self.basis, self.basis // 2, self.basis // 2], dim=-1)
        angle = torch.addcmul(along_y * offset[:, :1], along_x, offset[:, 1:])
        damping = sinc(along_y * cell[:, :1] / 2) * sinc(along_x * cell[:, 1:] / 2)
        wave = amplitude * torch.cat([damping * angle.cos(), damping * angle.sin()], dim=-1)
        values: Tensor = self.mlp(wave.to(self.amplitude.weight.dtype))
        return values


def sinc(x: Tensor) -> Tensor:
    """``sin(x) / x``, and 1 at 0.

    >>> sinc(torch.tensor([0.0, torch.pi / 2]))
    tensor([1.0000, 0.6366])
    """
    small = x.abs() < 1e-3
    safe = torch.where(small, 1.0, x)
    return torch.where(small, 1 - x * x / 6, safe.sin() / safe)

"""LTE with sinc damping: the output pixel's size fades what is finer than it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from implicitkit.decoders.lte import LTE


class SincLTE(LTE):
    """LTE whose waves are averaged over the output pixel: the pixel's size damps each wave and does nothing else.

    The mean of ``cos(pi F d)`` over a pixel of the size ``p`` around ``d``, both in cells, is the same wave times
    ``sinc(F_y p_y / 2) * sinc(F_x p_x / 2)`` with ``sinc x = sin(pi x) / (pi x)``. That replaces LTE's learned phases:
    what is finer than the output pixel fades, at sizes never trained as well, and a cell of 0 gives the bare waves.

    >>> SincLTE(in_channels=8, hidden=16).phase is None
    True
    """

    has_phases = False

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

"""GB-LSR, a global bandwidth for local spectra (arXiv 2606.19617), at any scale."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from implicitkit.decoders.basis.base import BasisDecoder, check_average, harmonics, mean_of_harmonics, outer


class GBLSR(BasisDecoder):
    """A linear map gives each cell the coefficients of harmonics whose one bandwidth is learned.

    With the offset ``t`` in half cells and the bandwidth ``s``, ``b(t) = [1, cos pi s t, sin pi s t, ...]``
    has ``order`` entries, and a cell predicts ``sum_ij c_ij b_i(y) b_j(x)`` per channel, in [0, 1] as in the authors'
    code. The output pixel's size is not used.

    Args:
        in_channels: features per cell.
        out_channels: values per point.
        order: functions per axis; a cell has ``order^2`` coefficients per value.
        bandwidth: the initial ``s``, kept positive by a softplus.
        local_ensemble: blend the four nearest cells as LIIF does (else: the nearest one alone).
        average: give the exact mean over the output pixel of the nearest cell's function, in place of its value at the
            pixel's centre; then the output pixel's size matters. Without ``local_ensemble`` only.

    >>> sum(p.numel() for p in GBLSR(in_channels=64, order=16).parameters())
    49921
    """

    uses_cell = False

    def __init__(
        self,
        in_channels: int = 64,
        out_channels: int = 3,
        order: int = 16,
        bandwidth: float = 1.0,
        local_ensemble: bool = True,
        average: bool = False,
    ) -> None:
        super().__init__()
        self.average = self.uses_cell = check_average("gb_lsr", average, local_ensemble)
        if min(in_channels, out_channels, order) < 1 or not 0 < bandwidth < math.inf:
            raise ValueError(
                "gb_lsr takes positive channels, order and bandwidth; received "
                f"in_channels={in_channels}, out_channels={out_channels}, order={order}, bandwidth={bandwidth}"
            )
        self.in_channels, self.out_channels, self.order = in_channels, out_channels, order
        self.local_ensemble, self.reach = local_ensemble, int(local_ensemble)
        self.project = nn.Conv2d(in_channels, out_channels * order**2, 1)
        self.bandwidth = nn.Parameter(torch.tensor(bandwidth + math.log(-math.expm1(-bandwidth))))  # softplus's inverse

    def coefficients(self, map: Tensor) -> Tensor:
        coefficients = self.project(map).float().unflatten(1, (self.out_channels, self.order**2))
        constant = torch.zeros(self.order**2, 1, 1, device=map.device)
        constant[0] = 1
        moved: Tensor = (2 * coefficients - constant).flatten(1, 2)
        return moved  # from [0, 1] to the model's output space

    def table(self, offset: Sequence[Tensor], cell: Tensor | None) -> Tensor:
        width = math.pi * F.softplus(self.bandwidth.float())
        along_y, along_x = (harmonics(part * width, self.order) for part in offset)
        return outer(along_y, along_x)

    def widths(self, cell: Tensor) -> Tensor:
        width = math.pi * F.softplus(self.bandwidth.float())
        along_y, along_x = (mean_of_harmonics(part * width, self.order) for part in cell.unbind(-1))
        return outer(along_y, along_x)

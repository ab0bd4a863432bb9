"""Peak signal-to-noise ratio, over all channels and of the luma."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from implicitkit.devices import constants
from implicitkit.metrics.base import Metric, mean_where

LUMA_WEIGHTS = (65.738 / 256, 129.057 / 256, 25.064 / 256)  # ITU-R BT.601


class PSNR(Metric):
    """``-10 log10(mean squared difference)`` in dB, over all channels and pixels together. Equal pictures give
    ``inf``.

    >>> round(PSNR()(torch.zeros(3, 4, 4), torch.full((3, 4, 4), 0.5)), 2)
    6.02
    """

    name = "psnr"
    unit: ClassVar[str] = "dB"

    def measure(self, prediction: Tensor, target: Tensor, mask: Tensor | None) -> float:
        error = mean_where(self.difference(prediction, target).square(), mask)
        return math.inf if error == 0 else -10 * math.log10(error)

    def difference(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The difference to square: ``(..., C, H, W)``."""
        return prediction - target


class LumaPSNR(PSNR):
    """PSNR in dB of the luma of the difference, weights (65.738, 129.057, 25.064)/256, as for the super-resolution
    benchmarks; that of a grey difference is the difference.

    >>> round(LumaPSNR()(torch.zeros(3, 4, 4), torch.full((3, 4, 4), 0.5)), 2)
    7.34
    """

    name = "psnr_y"

    def difference(self, prediction: Tensor, target: Tensor) -> Tensor:
        difference = prediction - target
        if difference.shape[-3] != 3:
            return difference
        weights = constants(LUMA_WEIGHTS, difference.dtype, difference.device)
        return torch.einsum("...chw,c->...hw", difference, weights).unsqueeze(-3)


def psnr(prediction: Tensor, target: Tensor, shave: int | Sequence[int] = 0, mask: Tensor | None = None) -> float:
    """:class:`PSNR` as a function, dB.

    >>> round(psnr(torch.zeros(3, 4, 4), torch.full((3, 4, 4), 0.1)), 2)
    20.0
    """
    return PSNR(shave)(prediction, target, mask)


def psnr_y(prediction: Tensor, target: Tensor, shave: int | Sequence[int] = 0, mask: Tensor | None = None) -> float:
    """:class:`LumaPSNR` as a function, dB.

    >>> round(psnr_y(torch.zeros(3, 4, 4), torch.full((3, 4, 4), 0.1)), 2)
    21.32
    """
    return LumaPSNR(shave)(prediction, target, mask)

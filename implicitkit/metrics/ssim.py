"""Structural similarity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from implicitkit.metrics.base import Metric, mean_where, shaved

Window = Literal["uniform", "gaussian"]
WINDOWS: tuple[Window, ...] = get_args(Window)
C1, C2 = 0.01**2, 0.03**2  # (K L)², the stabilisers of the paper; values span L = 1
UNIFORM_SIDE, GAUSSIAN_SIDE, SIGMA = 7, 11, 1.5


class SSIM(Metric):
    """Structural similarity (Wang et al., IEEE TIP 2004, equation 13), the mean over pixels and channels.

    A pixel is scored if its window lies inside the picture, so a border of half a window is ignored. A mask restricts
    the mean to its pixels; their windows still read the pixels around them.

    Args:
        shave: see :class:`~implicitkit.metrics.Metric`.
        window: ``"uniform"``, 7×7, covariances divided by 48 (scikit-image's default, as in inpainting papers), or
            ``"gaussian"``, 11×11 of sigma 1.5, weighted covariances (the paper's, as in super-resolution papers, but on
            all channels, not on the luma).

    >>> round(SSIM(window="gaussian")(torch.zeros(3, 16, 16), torch.ones(3, 16, 16)), 4)
    0.0001
    """

    def __init__(self, shave: int | Sequence[int] = 0, window: Window = "uniform") -> None:
        super().__init__(shave)
        if window not in WINDOWS:
            raise ValueError(f"the window is one of {', '.join(WINDOWS)}; received {window!r}")
        self.window = window
        self.name = "ssim" if window == "uniform" else "ssim_gaussian"

    def measure(self, prediction: Tensor, target: Tensor, mask: Tensor | None) -> float:
        side = UNIFORM_SIDE if self.window == "uniform" else GAUSSIAN_SIDE
        height, width = target.shape[-2:]
        if min(height, width) < side:
            raise ValueError(f"the {side}×{side} window of {self.name} does not fit a picture of {width}×{height}")
        similarity = self._map(prediction, target, side)
        return mean_where(similarity, None if mask is None else shaved(mask, side // 2))

    def _map(self, x: Tensor, y: Tensor, side: int) -> Tensor:
        """The similarity ``(..., C, H - side + 1, W - side + 1)`` at each window's centre."""
        weights = self._weights(side).to(x)
        mean_x, mean_y = _filtered(x, weights), _filtered(y, weights)
        unbias = side**2 / (side**2 - 1) if self.window == "uniform" else 1.0
        var_x = unbias * (_filtered(x * x, weights) - mean_x**2)
        var_y = unbias * (_filtered(y * y, weights) - mean_y**2)
        covariance = unbias * (_filtered(x * y, weights) - mean_x * mean_y)
        likeness = (2 * mean_x * mean_y + C1) * (2 * covariance + C2)
        return likeness / ((mean_x**2 + mean_y**2 + C1) * (var_x + var_y + C2))

    def _weights(self, side: int) -> Tensor:
        if self.window == "uniform":
            return torch.full((side,), 1 / side, dtype=torch.float64)
        offsets = torch.arange(side, dtype=torch.float64) - side // 2
        weights = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
        return weights / weights.sum()


def _filtered(picture: Tensor, weights: Tensor) -> Tensor:
    """``picture`` ``(..., H, W)`` filtered along both axes, where the window lies inside."""
    planes = picture.reshape(-1, 1, *picture.shape[-2:])
    planes = F.conv2d(F.conv2d(planes, weights.reshape(1, 1, -1, 1)), weights.reshape(1, 1, 1, -1))
    return planes.reshape(*picture.shape[:-2], *planes.shape[-2:])


def ssim(
    prediction: Tensor,
    target: Tensor,
    shave: int | Sequence[int] = 0,
    mask: Tensor | None = None,
    window: Window = "uniform",
) -> float:
    """:class:`SSIM` as a function.

    >>> picture = torch.rand(3, 16, 16)
    >>> round(ssim(picture, picture), 6)
    1.0
    """
    return SSIM(shave, window)(prediction, target, mask)


def ssim_gaussian(shave: int | Sequence[int] = 0) -> SSIM:
    """:class:`SSIM` with the gaussian window.

    >>> ssim_gaussian().name
    'ssim_gaussian'
    """
    return SSIM(shave, "gaussian")

"""Focal frequency loss: the distance of two spectra, weighted by itself."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from implicitkit.losses.base import PictureLoss


class FocalFrequency(PictureLoss):
    """Focal frequency loss (Jiang et al., ICCV 2021, equations 8 to 10).

    ``mean(w * |F(prediction) - F(truth)|²)`` over pictures, channels and frequencies, where ``F`` is the orthonormal
    discrete Fourier transform of the whole window, and ``w = |F(prediction) - F(truth)|^alpha``, divided by its largest
    value in each channel of each picture, has no gradient. With ``alpha = 0`` it is the mean squared error.

    Args:
        alpha: exponent of the weights, at least 0 (the paper's is 1).

    Raises:
        ValueError: ``alpha`` is negative or not finite.

    >>> from implicitkit import Prediction, create_loss
    >>> target = torch.zeros(1, 16, 3)
    >>> loss = create_loss("focal_frequency")(Prediction(target + 0.5, {}), {"target": target, "window": (4, 4)})
    >>> round(loss.item(), 4)  # one frequency of 16 differs, by 0.5 * 4
    0.25
    """

    def __init__(self, alpha: float = 1.0) -> None:
        if not (alpha >= 0 and math.isfinite(alpha)):
            raise ValueError(f"focal_frequency takes a finite alpha of at least 0; received {alpha}")
        self.alpha = alpha

    def of(self, prediction: Tensor, truth: Tensor) -> Tensor:
        difference: Tensor = torch.fft.fft2(prediction - truth, norm="ortho")
        distance = difference.real.square() + difference.imag.square()  # abs() has no gradient at 0
        weight = distance.detach().pow(self.alpha / 2)
        weight = weight / weight.amax((2, 3), keepdim=True)
        return torch.mean(weight.nan_to_num(0.0) * distance)  # 0 / 0 where nothing differs

"""Scores. Pictures are ``(..., C, H, W)`` in [0, 1]; results are floats."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

LUMA = (65.738 / 256, 129.057 / 256, 25.064 / 256)  # ITU-R BT.601, as the benchmarks weight a difference


def psnr(prediction: Tensor, target: Tensor, shave: int | Sequence[int] = 0) -> float:
    """Peak signal-to-noise ratio in dB over all channels; ``shave`` pixels are left out at every border. Equal
    pictures give ``inf``.
    """
    return _decibel(_difference(prediction, target, shave))


def psnr_y(prediction: Tensor, target: Tensor, shave: int | Sequence[int] = 0) -> float:
    """PSNR in dB of the luma of the difference, weights (65.738, 129.057, 25.064)/256; a grey difference counts as it
    is.
    """
    difference = _difference(prediction, target, shave)
    if difference.shape[-3] == 3:
        weights = torch.tensor(LUMA, dtype=difference.dtype, device=difference.device)
        difference = torch.einsum("...chw,c->...hw", difference, weights)
    return _decibel(difference)


def _difference(prediction: Tensor, target: Tensor, shave: int | Sequence[int]) -> Tensor:
    if prediction.shape != target.shape:
        raise ValueError(f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} must have one shape")
    difference = prediction.double() - target.double()
    for axis, cut in zip((-2, -1), [shave] * 2 if isinstance(shave, int) else shave, strict=True):
        if cut:
            if 2 * cut >= difference.shape[axis]:
                raise ValueError(
                    f"a picture of {difference.shape[-2]}×{difference.shape[-1]} has nothing left after "
                    f"shaving {cut} pixels"
                )
            difference = difference.narrow(axis, cut, difference.shape[axis] - 2 * cut)
    return difference


def _decibel(difference: Tensor) -> float:
    error = float(difference.square().mean())
    return math.inf if error == 0 else -10 * math.log10(error)

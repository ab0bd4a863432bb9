"""Colours under transparent pixels, made up so that no fringe appears when a picture is resampled."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

DOUBTED_ALPHA, TRUSTED_ALPHA = (
    1 / 16,
    1 / 8,
)  # up to the first a stored colour counts as garbage, from the second on as true


def fill_transparent(colour: Tensor, alpha: Tensor) -> Tensor:
    """Give (nearly) transparent pixels the colour of the visible ones around them.

    What a file stores under a transparent pixel is arbitrary, often black, and any resampling mixes it into the edge as
    a dark fringe. Averages of *premultiplied* colours over averages of alpha know nothing of it. They are taken over
    ever larger squares (pull-push), and each pixel goes from its own colour to that average as its alpha falls from
    1/8 to 1/16.

    Args:
        colour: ``(C, H, W)`` in [0, 1], not premultiplied.
        alpha: ``(1, H, W)`` in [0, 1].

    Returns:
        ``(C, H, W)``; a picture that is nearly transparent all over is returned as it is.
    """
    trust = ((alpha - DOUBTED_ALPHA) / (TRUSTED_ALPHA - DOUBTED_ALPHA)).clamp(0, 1)
    if bool((trust == 1).all()) or not bool((trust > 0).any()):
        return colour
    weight = alpha * trust
    return torch.lerp(_pull_push((colour * weight)[None], weight[None])[0], colour, trust)


def _pull_push(premultiplied: Tensor, weight: Tensor) -> Tensor:
    """Straight colours everywhere: where the weight is low, those of the next coarser level."""
    here = premultiplied / weight.clamp_min(1e-12)
    size = weight.shape[-2:]
    if max(size) == 1 or bool((weight >= TRUSTED_ALPHA).all()):
        return here
    coarse = _pull_push(_halve(premultiplied), _halve(weight))
    finer = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)[..., : size[0], : size[1]]
    return torch.lerp(finer, here, (weight / TRUSTED_ALPHA).clamp(max=1))


def _halve(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)

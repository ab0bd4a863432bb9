"""Colours for transparent pixels, so that resampling makes no fringe."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_ALPHA, TRUSTED_ALPHA = 1 / 16, 1 / 8  # ignore stored colours up to the first, keep them from the second on


def fill_transparent(colour: Tensor, alpha: Tensor) -> Tensor:
    """Give (nearly) transparent pixels the colour of the visible ones around them.

    A file's colours under transparent pixels are arbitrary, often black, and resampling mixes them into the edge as a
    dark fringe. Replace them by averages of *premultiplied* colours over averages of alpha, from ever larger squares
    (pull-push); as a pixel's alpha falls from 1/8 to 1/16, its colour goes from its own to that average.

    Args:
        colour: ``(C, H, W)`` in [0, 1], not premultiplied.
        alpha: ``(1, H, W)`` in [0, 1].

    Returns:
        ``(C, H, W)``; ``colour`` itself if all of it is nearly transparent.

    >>> fill_transparent(torch.tensor([[[0.8, 0.0]]]), torch.tensor([[[1.0, 0.0]]]))
    tensor([[[0.8000, 0.8000]]])
    """
    trust = ((alpha - MIN_ALPHA) / (TRUSTED_ALPHA - MIN_ALPHA)).clamp(0, 1)
    if bool((trust == 1).all()) or not bool((trust > 0).any()):
        return colour
    weight = alpha * trust
    return torch.lerp(_pull_push((colour * weight)[None], weight[None])[0], colour, trust)


def _pull_push(premultiplied: Tensor, weight: Tensor) -> Tensor:
    """Straight colours everywhere: where the weight is low, those of the next coarser level."""
    straight = premultiplied / weight.clamp_min(1e-12)
    size = weight.shape[-2:]
    if max(size) == 1 or bool((weight >= TRUSTED_ALPHA).all()):
        return straight
    coarse = _pull_push(_halve(premultiplied), _halve(weight))
    finer = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)[..., : size[0], : size[1]]
    return torch.lerp(finer, straight, (weight / TRUSTED_ALPHA).clamp(max=1))


def _halve(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)

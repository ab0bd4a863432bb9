"""Colours under transparent pixels, made up so that no fringe appears when a picture is resampled."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def fill_transparent(colour: Tensor, alpha: Tensor) -> Tensor:
    """Give fully transparent pixels the colour of the nearest visible ones.

    What a file stores under a transparent pixel is arbitrary (often black), and any resampling mixes it into the edge
    as a dark fringe. Averages of *premultiplied* colours over averages of alpha know nothing of it; they are taken
    over ever larger
    squares until every pixel has a colour (pull-push).

    Args:
        colour: ``(C, H, W)`` in [0, 1], not premultiplied.
        alpha: ``(1, H, W)`` in [0, 1].

    Returns:
        ``(C, H, W)``: ``colour`` where ``alpha > 0``, the made-up colour elsewhere; an all-transparent picture is
        returned as it is.
    """
    if bool((alpha > 0).all()) or not bool((alpha > 0).any()):
        return colour
    return torch.where(alpha > 0, colour, _pull_push((colour * alpha)[None], alpha[None])[0])


def _pull_push(premultiplied: Tensor, weight: Tensor) -> Tensor:
    """Straight colours everywhere: where the weight is 0, those of the next coarser level."""
    here = premultiplied / weight.clamp_min(1e-12)
    if bool((weight > 0).all()):
        return here
    size = weight.shape[-2:]
    coarse = _pull_push(_halve(premultiplied), _halve(weight))
    finer = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)[..., : size[0], : size[1]]
    return torch.where(weight > 0, here, finer)


def _halve(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)

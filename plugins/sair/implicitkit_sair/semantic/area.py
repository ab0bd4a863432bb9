"""Means over the cells of a grid that need not divide the picture: 88 pixels into 14 cells, say."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def area_means(x: Tensor, cells: Sequence[int]) -> Tensor:
    """The mean of ``x`` over each cell; a pixel that two cells share counts for both by the area it has in them.

    Args:
        x: ``(B, C, *S)``.
        cells: how many cells cover it along each axis: ``(rows, columns)``.

    Returns:
        ``(B, C, *cells)`` float32.

    >>> import torch
    >>> area_means(torch.tensor([[[[0.0, 0.0, 3.0]]]]), (1, 2))  # the middle pixel is half in each cell
    tensor([[[[0., 2.]]]])
    """
    x = x.float()
    if all(n % count == 0 for n, count in zip(x.shape[2:], cells, strict=True)):
        pool = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[x.ndim - 2]
        return pool(x, [n // count for n, count in zip(x.shape[2:], cells, strict=True)])
    for axis, (n, count) in enumerate(zip(x.shape[2:], cells, strict=True), start=2):
        x = (x.movedim(axis, -1) @ _shares(n, count, x.device).t()).movedim(-1, axis)
    return x


def _shares(n: int, count: int, device: torch.device) -> Tensor:
    """How much of each of ``count`` cells lies in each of ``n`` pixels, ``(count, n)``; rows sum to one."""
    size = n / count
    starts = torch.arange(count, dtype=torch.float64, device=device)[:, None] * size
    pixels = torch.arange(n, dtype=torch.float64, device=device)
    overlap = torch.minimum(starts + size, pixels + 1) - torch.maximum(starts, pixels)
    return (overlap.clamp_min(0) / size).float()

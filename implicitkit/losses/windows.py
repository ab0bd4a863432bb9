"""Dense windows: points that form a picture, for losses of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from implicitkit.coordinates import Size


def window_in(size: Size, window: Size, generator: torch.Generator) -> Tensor:
    """The indices of the pixels, row by row, of a window at a random place of a picture.

    Args:
        size: the picture's ``(H, W)``.
        window: ``(h, w)``, no larger.
        generator: draws the place.

    Raises:
        ValueError: the window is larger than the picture.

    >>> window_in((4, 5), (2, 5), torch.Generator().manual_seed(0)).tolist()
    [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]
    """
    if any(m > n for m, n in zip(window, size, strict=True)):
        raise ValueError(f"a window of {window[1]}×{window[0]} does not fit into {size[1]}×{size[0]} pixels")
    top, left = (int(torch.randint(n - m + 1, (), generator=generator)) for n, m in zip(size, window, strict=True))
    rows, columns = torch.arange(top, top + window[0]), torch.arange(left, left + window[1])
    return (rows[:, None] * size[1] + columns).flatten()


def as_pictures(values: Tensor, batch: Mapping[str, Any]) -> Tensor:
    """Values at the points of a window, ``(B, h * w, C)``, as pictures ``(B, C, h, w)``.

    Args:
        values: a prediction's values, or ``batch["target"]``.
        batch: its batch; ``batch["window"]`` is ``(h, w)``.

    Raises:
        ValueError: the points of the batch are random.

    >>> as_pictures(torch.rand(2, 12, 3), {"window": (3, 4)}).shape
    torch.Size([2, 3, 3, 4])
    """
    if "window" not in batch:
        raise ValueError("the points of this batch are random and make no picture; set data.points: window")
    height, width = batch["window"]
    return rearrange(values, "b (h w) c -> b c h w", h=height, w=width)

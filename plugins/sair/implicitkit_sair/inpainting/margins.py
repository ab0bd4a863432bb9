"""Outpainting: a picture with margins around it, which are holes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from implicitkit import UserError
from implicitkit.images import Picture


def extend(picture: Picture, mask: Tensor, margins: Sequence[int]) -> tuple[Picture, Tensor]:
    """``picture`` and ``mask`` with ``margins`` around them, missing and opaque.

    Args:
        picture: of any kind.
        mask: ``(1, H, W)``, above 0.5 where pixels are missing.
        margins: pixels to add at the left, the top, the right and the bottom.

    Raises:
        UserError: they are not four whole numbers from 0.

    >>> import torch
    >>> small = Picture(np.zeros((4, 6, 3), dtype=np.uint8))
    >>> large, mask = extend(small, torch.zeros(1, 4, 6), (1, 2, 3, 4))
    >>> large.size, int(mask.sum())
    ((10, 10), 76)
    """
    if len(margins) != 4 or any(int(n) != n or n < 0 for n in margins):
        raise UserError(
            f"margins are four numbers of pixels from 0: left, top, right and bottom; received {list(margins)}"
        )
    left, top, right, bottom = map(int, margins)
    if not any((left, top, right, bottom)) or mask.shape[1:] != picture.size:  # which check_mask then says
        return picture, mask
    sides = ((top, bottom), (left, right))
    alpha = picture.alpha
    if alpha is not None:
        alpha = np.pad(alpha, sides, constant_values=int(np.iinfo(alpha.dtype).max))
    pixels = np.pad(picture.pixels, (*sides, (0, 0)))
    return replace(picture, pixels=pixels, alpha=alpha), F.pad(mask, (left, right, top, bottom), value=1.0)

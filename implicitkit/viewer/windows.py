"""Windows of a picture by nearest neighbour and bicubically: what a field is compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from implicitkit.coordinates import axes, mirrored, nearest_index
from implicitkit.images.resize import cubic


def nearest_window(image: Tensor, size: Sequence[int], box: Sequence[float]) -> Tensor:
    """The nearest pixel of ``image`` ``(C, H, W)`` at each point of a grid of ``size`` over ``box``: ``(C, *size)``.

    >>> nearest_window(torch.tensor([[[0.0, 1.0]]]), (1, 4), (-1, -1, 1, 1))
    tensor([[[0., 0., 1., 1.]]])
    """
    rows, columns = (nearest_index(x, n) for x, n in zip(axes(size, box), image.shape[1:], strict=True))
    return image[:, rows][:, :, columns]


def bicubic_window(image: Tensor, size: Sequence[int], box: Sequence[float]) -> Tensor:
    """``image`` ``(C, H, W)`` on a grid of ``size`` over ``box``, ``(C, *size)``, clamped to [0, 1].

    Of the whole picture it is :func:`implicitkit.images.resize.resize`, MATLAB's ``imresize``; like it, it averages
    where it shrinks.

    >>> bicubic_window(torch.full((3, 5, 4), 0.5), (2, 7), (-0.5, -0.5, 0.5, 1)).shape
    torch.Size([3, 2, 7])
    """
    planes = [plane.astype(np.float32) for plane in image.numpy()]
    for axis in range(2):
        first, matrix = _weights(image.shape[1 + axis], size[axis], box[axis], box[2 + axis])
        span = slice(first, first + matrix.shape[1])
        planes = [matrix @ p[span] if axis == 0 else (matrix @ p[:, span].T).T for p in planes]
    return torch.from_numpy(np.stack(planes)).clamp_(0, 1)


def _weights(n: int, size: int, low: float, high: float) -> tuple[int, Any]:
    """The first pixel of ``n`` that matters, and the weights ``(size, pixels)`` from it on, as a sparse matrix."""
    from scipy.sparse import csr_array

    cell = (high - low) * n / 2 / size  # of an output pixel, in pixels
    centre = (low + 1) * n / 2 + (np.arange(size) + 0.5) * cell - 0.5
    shrink = min(1.0, 1 / cell)
    index = np.floor(centre - 2 / shrink)[:, None] + np.arange(math.ceil(4 / shrink) + 2)
    weight = cubic(shrink * (centre[:, None] - index))
    weight /= weight.sum(1, keepdims=True)
    pixel = mirrored(torch.from_numpy(index.astype(np.int64)), n).numpy()
    first, last = int(pixel.min()), int(pixel.max())
    rows = np.repeat(np.arange(size), index.shape[1])
    entries = (weight.ravel().astype(np.float32), (rows, pixel.ravel() - first))
    return first, csr_array(entries, shape=(size, last + 1 - first))  # a pixel that is met twice counts twice

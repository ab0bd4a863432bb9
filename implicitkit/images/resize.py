"""Bicubic resizing exactly as in MATLAB and in Pillow, in torch operations.

Both use the cubic kernel with a = -0.5, widened when shrinking (antialiasing). At the borders MATLAB's ``imresize``
mirrors the picture; Pillow drops the taps outside and renormalises. Pillow also rounds to 8 bits between its passes,
which moves the result by up to two levels. The horizontal pass comes first, as in Pillow up to 12; Pillow 13 reverses
the order where the height shrinks much more than the width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from implicitkit.coordinates import mirrored

Kernel = Literal["matlab", "pil"]
KERNELS: tuple[Kernel, ...] = ("matlab", "pil")
MAX_DENSE_ENTRIES = 1 << 17  # up to this, one matrix product is faster than a loop over the taps
Taps = tuple[NDArray[np.int64], NDArray[np.float64]]


def resize(image: Tensor, size: Sequence[int], kernel: Kernel = "matlab") -> Tensor:
    """Resize the last ``len(size)`` axes of ``image``, bicubically and antialiased.

    Args:
        image: ``(..., *S)`` floating point, [0, 1].
        size: pixels per axis.
        kernel: ``"matlab"`` is ``imresize(image, size, 'bicubic')``; ``"pil"`` is ``Image.resize(size, BICUBIC)``
            on 8-bit data (±1 level).

    Returns:
        ``(..., *size)``, same dtype and device; differentiable. ``"matlab"`` may overshoot [0, 1], ``"pil"`` does not.
        The last pass is not rounded.

    >>> resize(torch.eye(4)[None], (2, 2), "matlab")
    tensor([[[0.4703, 0.0297],
             [0.0297, 0.4703]]])
    """
    if kernel not in KERNELS:
        raise ValueError(f"the kernel is one of {', '.join(KERNELS)}; received {kernel!r}")
    first_axis = image.ndim - len(size)
    ratios = [n / image.shape[first_axis + k] for k, n in enumerate(size)]
    if kernel == "matlab":  # the axis that shrinks most comes first
        order = sorted(range(len(size)), key=lambda k: ratios[k])
    else:  # the last axis comes first; passes that change nothing are skipped
        order = [k for k in reversed(range(len(size))) if ratios[k] != 1]
    for k in order:
        image = _resize_axis(image, first_axis + k, size[k], ratios[k], kernel)
        if kernel == "pil":
            image = image.clamp(0, 1)
            image = image if k == order[-1] else round_to_8_bits(image)
    return image


def round_to_8_bits(image: Tensor) -> Tensor:
    """``image`` (in [0, 1]) rounded to 256 levels, halves up; the gradient is the identity's."""
    return image + (torch.floor(image * 255 + 0.5) / 255 - image).detach()


def cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cubic convolution kernel with a = -0.5 (Keys, 1981), support [-2, 2]."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _resize_axis(image: Tensor, axis: int, size: int, scale: float, kernel: Kernel) -> Tensor:
    """A weighted sum of shifted gathers, one per tap, in the memory of the output."""
    index, weight = (_matlab_taps if kernel == "matlab" else _pil_taps)(image.shape[axis], size, scale)
    if image.shape[axis] * size <= MAX_DENSE_ENTRIES:
        matrix = np.zeros((image.shape[axis], size))
        np.add.at(matrix, (index, np.arange(size)), weight)
        dense = torch.from_numpy(matrix).to(image)
        return (image.movedim(axis, -1) @ dense).movedim(-1, axis)
    shape = [-1 if k == axis else 1 for k in range(image.ndim)]
    total: Tensor | None = None
    for taps, weights in zip(index, weight, strict=True):
        gathered = image.index_select(axis, torch.from_numpy(taps).to(image.device))
        share = gathered * torch.from_numpy(weights).to(image).reshape(shape)
        total = share if total is None else total + share
    assert total is not None
    return total


@lru_cache(maxsize=256)
def _matlab_taps(n: int, size: int, scale: float) -> Taps:
    """Pixel indices and weights ``(taps, size)`` of ``imresize`` (its ``contributions``), mirrored at the borders."""
    shrink = min(scale, 1.0)
    width = 4 / shrink
    centre = np.arange(1, size + 1) / scale + 0.5 * (1 - 1 / scale)
    first = np.floor(centre - width / 2)
    index = first[None, :] + np.arange(math.ceil(width) + 2)[:, None]
    weight = shrink * cubic(shrink * (centre[None, :] - index))
    weight /= weight.sum(0)
    position = mirrored(torch.from_numpy(index.astype(np.int64) - 1), n).numpy()
    used = np.any(weight != 0, axis=1)
    return np.ascontiguousarray(position[used]), np.ascontiguousarray(weight[used])


@lru_cache(maxsize=256)
def _pil_taps(n: int, size: int, scale: float) -> Taps:
    """Pixel indices and weights ``(taps, size)`` of Pillow's resampling; taps outside the picture get weight 0."""
    step = 1 / scale
    stretch = max(step, 1.0)
    support = 2 * stretch
    centre = (np.arange(size) + 0.5) * step
    low = np.maximum(np.trunc(centre - support + 0.5), 0).astype(np.int64)
    high = np.minimum(np.trunc(centre + support + 0.5), n).astype(np.int64)
    index = low[None, :] + np.arange((high - low).max())[:, None]
    weight = np.where(index < high, cubic((index - centre + 0.5) / stretch), 0.0)
    weight /= weight.sum(0)
    return np.minimum(index, n - 1), weight

"""The numbers of samples: linear light and what screens take, within [0, 1] and above it; white; alpha."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
SHADOWS = 50.0  # the curve's slope at black, of one that ends at 1: near sRGB's 12.92


def encode_srgb(light: Values) -> Values:
    """Linear light as sRGB values (IEC 61966-2-1), the curve carried on above 1 and mirrored below 0.

    >>> encode_srgb(np.array([0.0, 0.0031308, 0.5, 1.0, 4.0])).round(3).tolist()
    [0.0, 0.04, 0.735, 1.0, 1.825]
    """
    size = np.abs(light)
    curved = 1.055 * np.power(np.maximum(size, 0.0031308), 1 / 2.4) - 0.055
    return np.copysign(np.where(size <= 0.0031308, 12.92 * size, curved), light).astype(light.dtype)


def decode_srgb(values: Values) -> Values:
    """The inverse of :func:`encode_srgb`.

    >>> decode_srgb(np.array([0.0, 0.5, 1.0])).round(3).tolist()
    [0.0, 0.214, 1.0]
    """
    size = np.abs(values)
    curved = np.power((np.maximum(size, 0.04045) + 0.055) / 1.055, 2.4)
    return np.copysign(np.where(size <= 0.04045, size / 12.92, curved), values).astype(values.dtype)


def compress(light: Values, peak: float) -> Values:
    """Light up to ``peak`` as values up to 1, evenly by what the eye tells apart: ``log(1 + 50 x) / log(1 + 50 peak)``.

    A network that was trained on [0, 1] sees the highlights and the shadows of one picture so. Mirrored below 0.

    >>> compress(np.array([0.0, 0.18, 1.0, 16.0]), 16.0).round(2).tolist()
    [0.0, 0.34, 0.59, 1.0]
    """
    size: Values = np.log1p(SHADOWS * np.abs(light)) / np.log1p(SHADOWS * peak)
    return np.copysign(size, light).astype(light.dtype, copy=False)


def expand(values: Values, peak: float) -> Values:
    """The inverse of :func:`compress`."""
    size: Values = np.expm1(np.abs(values) * np.log1p(SHADOWS * peak)) / SHADOWS
    return np.copysign(size, values).astype(values.dtype, copy=False)


def to_16_bits(values: Values) -> Values:
    """Floats in [0, 1] as uint16; what is outside is clipped."""
    return np.round(np.clip(values, 0, 1) * np.float32(65535)).astype(np.uint16)


def white_of(samples: NDArray[Any]) -> int:
    """The value of white: the largest of integers, 1 of floats."""
    return 1 if samples.dtype.kind == "f" else int(np.iinfo(samples.dtype).max)


def finite(values: NDArray[Any]) -> NDArray[Any]:
    """The values.

    Raises:
        ValueError: some are NaN or infinite.
    """
    if not np.isfinite(values).all():
        raise ValueError("it holds NaN or infinity; a picture is of finite values")
    return values


def straight_colour(premultiplied: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """``(H, W, C)`` divided by an alpha ``(H, W)`` of the same type; black where it is nothing."""
    top = white_of(alpha)
    floats = alpha.dtype.kind == "f"
    weight = np.where(alpha > 0, alpha, 1)[..., None].astype(np.float64)
    straight = np.where(alpha[..., None] > 0, premultiplied / weight * top, 0)
    return (straight if floats else np.clip(np.round(straight), 0, top)).astype(premultiplied.dtype)

"""A picture in memory, and its pixels as tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from implicitkit.devices import free_memory, is_recorded
from implicitkit.errors import ImageError
from implicitkit.images.formats.light import decode_srgb, encode_srgb, to_16_bits, white_of
from implicitkit.images.formats.png import ColourSpace
from implicitkit.images.metadata import NOTHING, ImageMetadata

MAX_VALUE = 2.0  # above it, a picture in [0, 1] is not what is meant
Pixels = NDArray[Any]
"""uint8, uint16, or float32 where values above 1 are kept."""


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright.

    Attributes:
        pixels: ``(H, W, C)`` uint8, uint16 or float32 (which may exceed 1), C = 1 (grey) or 3 (RGB).
        alpha: ``(H, W)`` of the same type (not premultiplied), or None.
        icc: the colour profile's bytes, carried over as they are.
        colour_space: where there is no profile, a PNG's chunks that name a space other than sRGB; PNG alone holds them
            (of EXR's, which names primaries).
        metadata: what else the file says of it; :class:`ImageMetadata`.
        lossless: whether its file is a lossless WebP, as which it is written again.
        linear: whether its values, floats, are linear light.
        clipped: the share of a float file's samples that were outside [0, 1] and are cut off.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    icc: bytes | None = None
    colour_space: ColourSpace = ()
    metadata: ImageMetadata = NOTHING
    lossless: bool = False
    linear: bool = False
    clipped: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)``."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def bits(self) -> int:
        """8 or 16 per channel, or 32 of floats."""
        return 8 * self.pixels.itemsize

    @property
    def is_float(self) -> bool:
        """Whether values may exceed 1."""
        return self.pixels.dtype.kind == "f"

    @property
    def is_grey(self) -> bool:
        """Whether there is one channel only."""
        return bool(self.pixels.shape[2] == 1)

    def samples(self) -> Pixels:
        """The samples of a file: ``(H, W)`` for grey without alpha, else ``(H, W, 2 to 4)`` with alpha last."""
        if self.alpha is None:
            return self.pixels[..., 0] if self.is_grey else self.pixels
        return np.concatenate([self.pixels, self.alpha[..., None]], axis=2)

    def colour(self) -> Tensor:
        """``(C, H, W)`` float32 in [0, 1]; floats as they are."""
        return to_tensor(self.pixels)

    def rgb(self) -> Tensor:
        """``(3, H, W)`` float32 in [0, 1]; grey is repeated."""
        return self.colour().expand(3, -1, -1).contiguous()

    def displayed(self) -> Picture:
        """A float picture as screens show it: sRGB values of 16 bits, cut off at 0 and 1; others as they are.

        >>> Picture(np.array([[[0.5], [3.0]]], dtype=np.float32), linear=True).displayed().pixels.ravel().tolist()
        [48192, 65535]
        """
        if not self.is_float:
            return self
        outside = float(((self.pixels < 0) | (self.pixels > 1)).mean())
        pixels = to_16_bits(self.values())
        alpha = None if self.alpha is None else to_16_bits(self.alpha)
        return replace(self, pixels=pixels, alpha=alpha, linear=False, clipped=outside)

    def values(self) -> Pixels:
        """The pixels as sRGB values, which may exceed 1 where they are floats."""
        return encode_srgb(self.pixels) if self.linear else self.pixels

    def light(self) -> Pixels:
        """``(H, W, C)`` float32, linear light: white is 1, and values may exceed it only where they are floats."""
        if self.linear:
            return self.pixels
        return decode_srgb(self.pixels.astype(np.float32) / np.float32(white_of(self.pixels)))


def to_tensor(pixels: Pixels) -> Tensor:
    """``(H, W, C)`` integers as ``(C, H, W)`` float32 in [0, 1]; floats as they are.

    >>> to_tensor(np.array([[[255], [51]]], dtype=np.uint8))
    tensor([[[1.0000, 0.2000]]])
    """
    planes = np.array(np.moveaxis(pixels, -1, 0), order="C")  # before they become larger
    return torch.from_numpy(planes).to(torch.float32).div_(float(white_of(pixels)))


def to_pixels(image: Tensor, bits: int = 8) -> Pixels:
    """``(C, H, W)`` in [0, 1] as ``(H, W, C)`` integers, clamped and rounded.

    >>> to_pixels(torch.tensor([[[0.2, 1.7]]])).tolist()
    [[[51], [255]]]
    """
    top = 2**bits - 1
    values = image.detach().float().clamp(0, 1).mul(top).round().movedim(0, -1).cpu().numpy()
    return values.astype(np.uint8 if bits == 8 else np.uint16)


def check_values(image: Tensor, what: str = "a picture", highest: float = MAX_VALUE) -> None:
    """Raise :class:`ValueError` unless ``image`` holds finite floats that may be meant as [0, 1].

    What lies a little outside, as a sum of waves or noise does, is let pass; what is above ``highest``, or as far below
    0, is not.
    """
    if not isinstance(image, Tensor):
        raise ValueError(
            f"{what} is a floating-point tensor in [0, 1]; received {type(image).__name__} "
            "(implicitkit.images.to_tensor takes (H, W, C) arrays of 8 or 16 bits)"
        )
    if image.layout != torch.strided:
        raise ValueError(f"{what} is a dense tensor; received {image.layout} (.to_dense() makes one)")
    if not image.is_floating_point():
        raise ValueError(f"{what} holds floats in [0, 1]; received {image.dtype} (image.float() / 255 for 8 bits)")
    if image.numel() == 0 or is_recorded(image):
        return
    try:
        low, high = (float(end) for end in image.detach().aminmax())
    except RuntimeError:  # torch.func.vmap has many values in place of one
        return
    if not math.isfinite(low) or not math.isfinite(high):
        raise ValueError(
            f"{what} holds finite values in [0, 1]; received NaN or infinity (torch.nan_to_num removes them)"
        )
    if high > highest:
        raise ValueError(f"{what} holds values in [0, 1]; received up to {high:g} (divide 8-bit values by 255)")
    if low < 1 - highest:
        raise ValueError(
            f"{what} holds values in [0, 1]; received down to {low:g} (undo a normalisation: value * std + mean)"
        )


def to_8_bits(pixels: Pixels) -> Pixels:
    """16-bit integers as the nearest 8-bit ones; 8-bit ones as they are."""
    return pixels if pixels.dtype == np.uint8 else np.round(pixels / 257).astype(np.uint8)


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation (1 to 8) on ``(H, W, C)``."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::rows, ::columns]


def without_alpha(samples: Pixels) -> tuple[Pixels, Pixels | None]:
    """``(H, W, 1 to 4)`` as colours and what is last of two or four."""
    if samples.shape[2] in (2, 4):
        return np.ascontiguousarray(samples[..., :-1]), np.ascontiguousarray(samples[..., -1])
    return np.ascontiguousarray(samples), None


def check_decodable(path: Path, size: tuple[int, int], pixel_bytes: int = 4) -> None:
    """Raise :class:`ImageError` if a picture of ``size`` ``(W, H)`` has no pixels, or does not fit into memory: the
    bytes that are decoded, and float32 RGB.
    """
    if 0 in size:
        raise ImageError(f"{path} has no pixels ({size[1]}×{size[0]})")
    needed, free = size[0] * size[1] * (pixel_bytes + 3 * 4), free_memory(torch.device("cpu"))
    if needed > free:
        raise ImageError(
            f"{path} has {size[1]}×{size[0]} pixels; {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} free"
        )

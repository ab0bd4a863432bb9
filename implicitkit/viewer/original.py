"""A picture's file: what of it models see, and what belongs to a window of it: transparency, depth, grey, colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from implicitkit.images.formats.icc import SPACES, Space, space_of
from implicitkit.images.io import Picture, Pixels, read_picture, to_pixels, to_tensor
from implicitkit.images.transparency import fill_transparent
from implicitkit.viewer.question import Box
from implicitkit.viewer.windows import bicubic_window, nearest_window

RANDOM_STEPS = ("noise", "inpainting")  # of the degradations: transparency is spared them
Spec = Sequence[dict[str, Any]]


def visible(picture: Picture) -> Tensor:
    """What a model sees, ``(3, H, W)`` in [0, 1]: under transparent pixels, the colours around them.

    >>> visible(Picture(np.full((2, 3, 1), 51, np.uint8))).shape
    torch.Size([3, 2, 3])
    """
    colour = picture.rgb()
    return colour if picture.alpha is None else fill_transparent(colour, to_tensor(picture.alpha[..., None]))


def alpha_of(picture: Picture, spec: Spec = ()) -> Tensor | None:
    """The transparency ``(1, h, w)`` after blur and low resolution, where ``spec`` has them; None: there is none."""
    if picture.alpha is None:
        return None
    alpha = to_tensor(picture.alpha[..., None])
    if steps := [step for step in spec if step["name"] not in RANDOM_STEPS]:
        from implicitkit.create import create_degradation

        alpha = create_degradation(steps)(alpha.expand(3, -1, -1).contiguous()).image[:1]
    return alpha.clamp(0, 1)


def stays_grey(picture: Picture, spec: Spec = ()) -> bool:
    """Whether a window has one channel: degradations bring colours, which a profile of grey cannot hold."""
    return picture.is_grey and (not spec or (picture.icc or b"")[16:20] == b"GRAY")


def as_picture(picture: Picture, values: Tensor, box: Box, spec: Spec = (), *, nearest: bool = False) -> Picture:
    """A window's values ``(3, h, w)`` as a picture with the depth, the transparency, the profile and the metadata of
    the one that it is of.

    Args:
        picture: what the window is of.
        values: of the window.
        box: the window.
        spec: what was done to the picture first.
        nearest: take the transparency from the nearest pixel.

    >>> import torch
    >>> deep = Picture(np.zeros((4, 6, 1), np.uint16), np.full((4, 6), 9, np.uint16))
    >>> window = as_picture(deep, torch.rand(3, 2, 5), (-1, -1, 0, 0))
    >>> window.bits, window.pixels.shape, int(window.alpha.max())
    (16, (2, 5, 1), 9)
    """
    if stays_grey(picture, spec):
        values = values.mean(0, keepdim=True)
    return as_window(picture, to_pixels(values, picture.bits), box, spec, nearest=nearest)


def as_window(picture: Picture, pixels: Pixels, box: Box, spec: Spec = (), *, nearest: bool = False) -> Picture:
    """:func:`as_picture` of pixels ``(h, w, C)`` of the picture's depth."""
    alpha = alpha_of(picture, spec)
    if alpha is None:
        return replace(picture, pixels=pixels)
    window = window_of(alpha, (pixels.shape[0], pixels.shape[1]), box, nearest=nearest)
    return replace(picture, pixels=pixels, alpha=to_pixels(window, picture.bits)[..., 0])


def window_of(alpha: Tensor, size: tuple[int, int], box: Box, *, nearest: bool = False) -> Tensor:
    """A window ``(1, *size)`` of a transparency, bicubically or from the nearest pixel."""
    return (nearest_window if nearest else bicubic_window)(alpha, size, box)


@dataclass(frozen=True)
class Original:
    """A picture, and what is made of it once."""

    picture: Picture

    @classmethod
    def read(cls, path: Path) -> Original:
        """From its file.

        Raises:
            ImageError: the file cannot be read.
        """
        return cls(read_picture(path))

    @cached_property
    def image(self) -> Tensor:
        """What a model sees, ``(3, H, W)``."""
        return visible(self.picture)

    @cached_property
    def space(self) -> Space | None:
        """Its colours' space; None: sRGB, or shown as such."""
        return space_of(self.picture)

    @property
    def is_plain(self) -> bool:
        """Whether :func:`implicitkit.read_image` and :func:`implicitkit.write_image` lose nothing of it."""
        picture = self.picture
        named = picture.icc is not None or bool(picture.colour_space)
        return picture.bits == 8 and not picture.is_grey and picture.alpha is None and not named

    def facts(self) -> str:
        """What is special about it, in words.

        >>> Original(Picture(np.zeros((1, 1, 1), np.uint16))).facts()
        '16 bits, grey'
        """
        picture, words = self.picture, [f"{self.picture.bits} bits"]
        words += ["grey"] * picture.is_grey + ["transparency"] * (picture.alpha is not None)
        if self.space is not None:
            words.append(f"{self.space.name or 'its own colours'}, shown as sRGB")
        elif picture.icc is not None and picture.icc[16:20] not in SPACES:
            words.append("a profile that is not shown")
        return ", ".join(words)

    def screen(self, values: Tensor, spec: Spec = ()) -> Tensor:
        """Values ``(3, h, w)`` of its colour space as sRGB in [0, 1], for a screen."""
        if stays_grey(self.picture, spec):
            values = values.mean(0, keepdim=True).expand(3, -1, -1)
        if self.space is None:
            return values
        return to_tensor(self.space.to_srgb(np.ascontiguousarray(to_pixels(values, self.picture.bits))))

"""Upscale a picture: colour by the model, alpha bicubically; depth and profile stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from implicitkit.devices import free_memory
from implicitkit.errors import UserError
from implicitkit.images.formats.light import Values, compress, encode_srgb, expand
from implicitkit.images.io import Picture, Pixels, to_pixels, to_tensor
from implicitkit.images.resize import resize
from implicitkit.images.transparency import fill_transparent

MAX_WHOLE_SIDE = 768  # larger pictures are encoded in tiles
DEFAULT_TILE, MIN_TILE = 512, 64
MAX_DISTORTION = 0.01  # relative change of the aspect that nobody sees
ASPECTS = "--fit (the largest size within it), --crop (fill it, cut the centre) or --stretch"
PIXEL_BYTES = 1 << 14  # per input pixel while encoding: EDSR takes 2 kB, RDN 8 kB
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Enlargement:
    """The output's size: by ``scale``, or ``height`` and ``width`` (one alone keeps the aspect).

    With both, ``aspect`` says what happens to a picture of another aspect: ``"stretch"`` it, ``"fit"`` it (the largest
    size within the box) or ``"crop"`` it (fill the box, cut the centre); None refuses changes above 1 %.

    >>> Enlargement(width=100).of((60, 80)), Enlargement(scale=3.5).label
    ((75, 100), 'x3.5')
    >>> Enlargement(height=90, width=90, aspect="fit").of((60, 80))
    (68, 90)
    """

    scale: float = 1.0
    height: int | None = None
    width: int | None = None
    aspect: str | None = None

    def of(self, size: tuple[int, int]) -> tuple[int, int]:
        """The output size ``(H, W)`` for an input of ``size``, at least one pixel each way.

        Raises:
            UserError: it changes the aspect, and ``aspect`` is None.
        """
        if self.height and self.width:
            if self.aspect == "fit":
                return self._scaled(size, min(self.height / size[0], self.width / size[1]))
            if self.aspect is None:
                refuse_distortion(size, (self.height, self.width), ASPECTS)
            return self.height, self.width
        scale = self.scale
        if self.height is not None:
            scale = self.height / size[0]
        elif self.width is not None:
            scale = self.width / size[1]
        height, width = self._scaled(size, scale)
        return self.height or height, self.width or width

    def whole(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size ``(H, W)`` of the whole picture at the output's scale: larger than :meth:`of` where it is cropped.

        >>> Enlargement(height=90, width=90, aspect="crop").whole((60, 80))
        (90, 120)
        """
        if self.aspect != "crop" or not (self.height and self.width):
            return self.of(size)
        height, width = self._scaled(size, max(self.height / size[0], self.width / size[1]))
        return max(height, self.height), max(width, self.width)

    def _scaled(self, size: tuple[int, int], scale: float) -> tuple[int, int]:
        height, width = (max(1, round(n * scale)) for n in size)
        return height, width

    @property
    def label(self) -> str:
        """For file names: ``x3.7``, ``1920x1080`` (width, height), ``w1920``, ``h1080``."""
        if self.height and self.width:
            return f"{self.width}x{self.height}"
        return f"w{self.width}" if self.width else f"h{self.height}" if self.height else f"x{self.scale:g}"


def refuse_distortion(before: tuple[int, int], after: tuple[int, int], ways: str) -> None:
    """Raise :class:`UserError` if the aspects of two sizes ``(H, W)`` differ by more than 1 % and more than rounding.

    Args:
        before: the picture's size.
        after: the size that is asked for.
        ways: the options that allow it, for the message.

    >>> refuse_distortion((400, 600), (1111, 1667), ASPECTS)
    """
    ratio = (after[1] * before[0]) / (after[0] * before[1])
    change = max(ratio, 1 / ratio) - 1
    rounded = (
        after[0] == max(1, round(after[1] * before[0] / before[1])),
        after[1] == max(1, round(after[0] * before[1] / before[0])),
    )
    if change > MAX_DISTORTION and not any(rounded):
        raise UserError(
            f"{after[1]}×{after[0]} (width×height) changes the aspect of a picture of {before[1]}×{before[0]} by "
            f"{change:.1%}; pass {ways}"
        )


def check_memory(
    size: tuple[int, int], channels: int, bits: int, *, alpha: bool = False, before: tuple[int, int] | None = None
) -> None:
    """Raise :class:`UserError` if the finished picture, made of one of size ``before``, does not fit into memory."""
    # the canvas and the writer's copy of it; alpha is resized in float32, with copies
    needed = size[0] * size[1] * (3 * channels * bits // 8 + (16 if alpha else 0))
    available = free_memory(CPU)
    if needed > available:
        smaller = "" if before is None else f", or take a smaller picture (this one has {before[1]}×{before[0]})"
        raise UserError(
            f"a picture of {size[1]}×{size[0]} pixels needs {needed / 1e9:,.1f} GB, {available / 1e9:,.1f} "
            f"GB are free; ask for a smaller size{smaller}"
        )


@dataclass(frozen=True)
class Range:
    """How a model that was trained on [0, 1] sees a picture, and what its values then mean.

    Attributes:
        peak: the brightest light of a float picture that exceeds 1 or is linear, seen through
            :func:`~implicitkit.images.formats.light.compress`; None: seen as it is.
        low: the lowest value that the model sees, 0 unless light is negative.
        linear: whether the picture's own values are linear light.

    >>> sky = Picture(np.array([[[0.0], [20.0]]], dtype=np.float32), linear=True)
    >>> Range.of(sky).seen(sky)[0], Range.of(sky).pixels(torch.ones(1, 1, 1)).round().tolist()
    (tensor([[0., 1.]]), [[[20.0]]])
    """

    peak: float | None = None
    low: float = 0.0
    linear: bool = False

    @classmethod
    def of(cls, picture: Picture) -> Range:
        """The range of a picture."""
        if not picture.is_float or not (picture.linear or np.abs(picture.pixels).max() > 1):
            return cls(low=min(0.0, float(picture.pixels.min())) if picture.is_float else 0.0)
        light = picture.light()
        peak = max(1.0, float(np.abs(light).max()))
        return cls(peak, float(compress(np.minimum(light.min(keepdims=True), 0), peak).item()), picture.linear)

    def seen(self, picture: Picture) -> Tensor:
        """What the model sees: ``(3, H, W)`` up to 1."""
        if self.peak is None:
            return picture.rgb()
        return to_tensor(compress(picture.light(), self.peak)).expand(3, -1, -1).contiguous()

    def pixels(self, values: Tensor) -> Values:
        """The model's values ``(C, H, W)`` as the picture's floats ``(H, W, C)``, no brighter than its peak."""
        bounded: Values = values.detach().float().clamp(self.low, 1).movedim(0, -1).cpu().numpy()
        if self.peak is None:
            return bounded
        light = expand(bounded, self.peak)
        return light if self.linear else encode_srgb(light)


class Upscaler(Protocol):
    """Enlarges pictures; :class:`implicitkit.ImplicitModel` is one."""

    @property
    def sight(self) -> int | None:
        """How far a pixel matters to a query, in pixels; None: everywhere."""

    def parameters(self) -> Iterator[Any]:
        """Its weights."""

    def encode(self, image: Tensor, *, tile: int | None = None, precision: str | None = None) -> Any:
        """The picture as a field."""


def choose_tile(model: Upscaler, size: tuple[int, int]) -> int | None:
    """The tile in which to encode a picture of ``size``, by free memory.

    None (whole) for global encoders, and up to 768 pixels a side if half of the free memory suffices; else 512, or what
    half of the free memory holds, at least 64.
    """
    if model.sight is None:
        return None
    room = free_memory(next(model.parameters()).device) // 2 // PIXEL_BYTES
    if max(size) <= MAX_WHOLE_SIDE and size[0] * size[1] <= room:
        return None
    tile, halo = DEFAULT_TILE, model.sight
    while tile > MIN_TILE and (tile + 2 * halo) ** 2 > room:
        tile //= 2
    return tile


def upscale_picture(
    model: Upscaler,
    picture: Picture,
    size: tuple[int, int],
    *,
    tile: int | str | None = "auto",
    precision: str | None = None,
    progress: Callable[[int], Any] | None = None,
    options: Mapping[str, Any] | None = None,
    whole: tuple[int, int] | None = None,
) -> Picture:
    """Render ``picture`` at ``size`` with its alpha, depth and profile.

    Args:
        model: maps RGB to RGB.
        picture: grey stays grey, 16 bits stay 16 bits, alpha is resized bicubically, the profile and the metadata
            stay. Floats keep values above 1: the model sees a :class:`Range`.
        size: ``(H, W)``.
        tile: pixels per side of an input tile; ``"auto"``, see :func:`choose_tile`; None encodes the whole picture.
            Where memory runs out, smaller tiles are used.
        precision: see :meth:`ImplicitModel.encode`.
        progress: called with the number of output pixels done.
        options: of the question, see :class:`implicitkit.Field`.
        whole: the size ``(H, W)`` of the whole picture, of which the centre, ``size``, is rendered (default: ``size``).

    >>> import implicitkit as ik
    >>> picture = Picture(np.zeros((8, 6, 1), dtype=np.uint16))
    >>> upscale_picture(ik.load_model("liif_small"), picture, (20, 15)).pixels.shape
    (20, 15, 1)
    """
    channels = picture.pixels.shape[2]
    check_memory(size, channels, picture.bits, alpha=picture.alpha is not None, before=picture.size)
    if tile == "auto":
        tile = choose_tile(model, picture.size)
    light = Range.of(picture)
    colour = light.seen(picture)
    if picture.alpha is not None:
        colour = fill_transparent(colour, to_tensor(picture.alpha[..., None]))
    field = model.encode(colour, tile=None if tile is None else int(tile), precision=precision)
    canvas: Pixels = np.empty((*size, channels), dtype=picture.pixels.dtype)
    done = 0
    whole = size if whole is None else whole
    first = [(n - m) // 2 for n, m in zip(whole, size, strict=True)]
    ends = [first, [a + n for a, n in zip(first, size, strict=True)]]
    box = None if whole == size else [2 * at / n - 1 for end in ends for at, n in zip(end, whole, strict=True)]
    for (rows, columns), values in field.blocks(size, box, clamp=light.low == 0, options=options):
        block = values[0].mean(0, keepdim=True) if picture.is_grey else values[0]
        canvas[rows, columns] = light.pixels(block) if picture.is_float else to_pixels(block, picture.bits)
        done += block.shape[1] * block.shape[2]
        if progress:
            progress(done)
    alpha = None
    if picture.alpha is not None:
        with torch.no_grad():
            large = resize(to_tensor(picture.alpha[..., None]), whole)
            part = large[:, first[0] : first[0] + size[0], first[1] : first[1] + size[1]]
            alpha = part[0].clamp(0, 1).numpy() if picture.is_float else to_pixels(part, picture.bits)[..., 0]
    return replace(picture, pixels=canvas, alpha=alpha)

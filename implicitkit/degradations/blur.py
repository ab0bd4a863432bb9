"""Blur: gaussian, motion, defocus."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from implicitkit.coordinates import mirrored
from implicitkit.degradations.base import Degradation, Record, Step, check_ndim
from implicitkit.degradations.settings import KindChoice, Kinds, Number, Range

KINDS = ("gaussian", "anisotropic", "motion", "defocus")
Kernel = NDArray[np.float64]


class Blur(Degradation):
    """Convolves the picture with a kernel of sum 1.

    ``gaussian`` is round; ``anisotropic`` is a gaussian of ``sigma`` along ``angle`` and ``aspect * sigma`` across it;
    ``motion`` moves the picture along a straight line; ``defocus`` is a disc. The picture is mirrored at its border,
    repeatedly, so it may be smaller than the kernel. A blurred pixel is missing if any pixel under its kernel is.
    Differentiable.

    Args:
        kind: one of the four, several, or ``{kind: weight}``.
        sigma: of the gaussians, pixels; a number or a range ``[low, high]``, like all of the following.
        aspect: of the anisotropic gaussian, above 0 up to 1.
        angle: of the anisotropic gaussian and the motion, degrees, counterclockwise from the x axis.
        length: of the motion, pixels.
        radius: of the disc, pixels; up to 0.5 it changes nothing.
        ndim: 2, or 3 for volumes ``(C, D, H, W)``, of which the round gaussian alone is known.

    >>> degraded = Blur("defocus", radius=(1, 2))(torch.rand(3, 8, 8))
    >>> 1 <= degraded.record["radius"] <= 2
    True
    """

    def __init__(
        self,
        kind: KindChoice = "gaussian",
        sigma: Number = 2.0,
        aspect: Number = (0.2, 1.0),
        angle: Number = (0.0, 180.0),
        length: Number = 15.0,
        radius: Number = 3.0,
        ndim: int = 2,
    ) -> None:
        self.ndim = check_ndim("blur", ndim)
        self.kinds = Kinds("blur", kind, KINDS if ndim == 2 else KINDS[:1])
        self.settings = {
            "sigma": Range("sigma, in pixels,", sigma),
            "aspect": Range("aspect", aspect, 1e-3, 1),
            "angle": Range("angle, in degrees,", angle, -360, 360),
            "length": Range("length, in pixels,", length),
            "radius": Range("radius, in pixels,", radius),
        }

    def sample(self, shape: Sequence[int], generator: torch.Generator) -> Record:
        kind = self.kinds.draw(generator)
        drawn = {name: setting.draw(generator) for name, setting in self.settings.items()}
        uses = {"gaussian": ("sigma",), "anisotropic": ("sigma", "aspect", "angle"), "motion": ("length", "angle")}
        return {"name": "blur", "kind": kind, **{name: drawn[name] for name in uses.get(kind, ("radius",))}}

    def degrade(self, image: Tensor, mask: Tensor, record: Record) -> Step:
        axes = tuple(range(1, image.ndim))
        lowest, highest = (bound(image.detach(), dim=axes, keepdim=True) for bound in (torch.amin, torch.amax))
        if image.ndim == 5:
            image, mask = _round(image, mask, gaussian(record["sigma"]))
            return Step(image.clamp(lowest, highest), mask, tuple(image.shape[2:]))
        for kernel in kernels(record):
            image = convolve(image, torch.from_numpy(kernel).to(image))
            if mask.any():
                mask = (convolve(mask, torch.from_numpy(kernel > 0).to(mask)) > 0.5).to(mask)
        # a weighted mean lies between its values, up to rounding
        return Step(image.clamp(lowest, highest), mask, tuple(image.shape[2:]))


def _round(image: Tensor, mask: Tensor, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """A volume and its mask under a round gaussian, axis after axis."""
    for axis in range(2, image.ndim):
        image = along(image, torch.from_numpy(kernel).to(image), axis)
        if mask.any():
            mask = (along(mask, torch.from_numpy(kernel > 0).to(mask), axis) > 0.5).to(mask)
    return image, mask


def along(image: Tensor, kernel: Tensor, axis: int) -> Tensor:
    """Convolve ``image`` along one axis with a symmetric, odd-sized ``kernel``, borders mirrored."""
    reach, n = len(kernel) // 2, image.shape[axis]
    index = mirrored(torch.arange(-reach, n + reach, device=image.device), n)
    return torch.stack([weight * image.index_select(axis, index[k : k + n]) for k, weight in enumerate(kernel)]).sum(0)


def kernels(record: Record) -> list[Kernel]:
    """The kernels of a record, to apply in order: a column and a row for a round gaussian, one for others."""
    match record["kind"]:
        case "gaussian":
            column = gaussian(record["sigma"])
            return [column[:, None], column[None, :]]
        case "anisotropic":
            return [anisotropic(record["sigma"], record["aspect"] * record["sigma"], record["angle"])]
        case "motion":
            return [motion(record["length"], record["angle"])]
        case "defocus":
            return [disc(record["radius"])]
        case kind:
            raise ValueError(f"the kinds of blur are {', '.join(KINDS)}; the record has {kind!r}")


def convolve(image: Tensor, kernel: Tensor) -> Tensor:
    """Convolve each channel of ``image`` ``(B, C, H, W)`` with an odd-sized ``kernel``, borders mirrored."""
    b, c, height, width = image.shape
    rows, columns = (
        mirrored(torch.arange(-(k // 2), n + k // 2, device=image.device), n)
        for n, k in zip((height, width), kernel.shape, strict=True)
    )
    padded = image.index_select(2, rows).index_select(3, columns)
    each = padded.reshape(b * c, 1, *padded.shape[2:])
    return F.conv2d(each, kernel.flip(0, 1)[None, None]).reshape(image.shape)


def gaussian(sigma: float) -> Kernel:
    """``exp(-x²/2 sigma²)`` at whole pixels up to 4 sigma, as in scipy."""
    x = _pixels(int(4 * sigma + 0.5))
    return _of_sum_1(np.exp(-(x**2) / (2 * max(sigma, 1e-3) ** 2)))


def anisotropic(along: float, across: float, angle: float) -> Kernel:
    """A gaussian of two widths, the first at ``angle`` (degrees), cut at 4 sigma along and across it."""
    x = _pixels(int(4 * along + 0.5))
    u, v = _turned(x[None, :], -x[:, None], angle)
    inside = (np.abs(u) <= 4 * along + 0.5) & (np.abs(v) <= 4 * across + 0.5)
    weight = np.exp(-(u**2) / (2 * max(along, 1e-3) ** 2) - v**2 / (2 * max(across, 1e-3) ** 2))
    return _of_sum_1(np.where(inside, weight, 0.0))


def motion(length: float, angle: float) -> Kernel:
    """A centred path of ``length`` at ``angle`` (degrees); a pixel's weight is the path's length inside it."""
    if length == 0:
        return np.ones((1, 1))
    x = _pixels(math.ceil(length / 2))
    leave = np.full((x.size, x.size), length / 2)
    enter = -leave
    direction = math.cos(math.radians(angle)), -math.sin(math.radians(angle))  # rows count downwards
    for step, centre in zip(direction, (x[None, :], x[:, None]), strict=True):
        if abs(step) < 1e-9:  # parallel to the other axis
            leave = np.where(np.abs(centre) < 0.5, leave, -np.inf)
        else:
            first, last = np.sort([(centre - 0.5) / step, (centre + 0.5) / step], axis=0)
            enter, leave = np.maximum(enter, first), np.minimum(leave, last)
    return _of_sum_1(np.clip(leave - enter, 0, None))


def disc(radius: float) -> Kernel:
    """A disc; a pixel's weight is the area inside it (exact in y, 64 columns per pixel in x)."""
    if radius <= 0.5:
        return np.ones((1, 1))
    x = _pixels(math.ceil(radius - 0.5))
    columns = x[:, None] + (np.arange(64) + 0.5) / 64 - 0.5
    half_height = np.sqrt(np.clip(radius**2 - columns**2, 0, None))
    top = np.minimum(half_height, x[:, None, None] + 0.5)
    bottom = np.maximum(-half_height, x[:, None, None] - 0.5)
    return _of_sum_1(np.clip(top - bottom, 0, None).mean(-1))


def _pixels(reach: int) -> Kernel:
    return np.arange(-reach, reach + 1, dtype=np.float64)


def _turned(x: Kernel, y: Kernel, angle: float) -> tuple[Kernel, Kernel]:
    """Coordinates along and across ``angle``."""
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return x * c + y * s, y * c - x * s


def _of_sum_1(kernel: Kernel) -> Kernel:
    return np.asarray(kernel / kernel.sum())

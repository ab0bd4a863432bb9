"""Super-resolution: bicubic downscaling by any real factor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from implicitkit.coordinates import Size, check_size
from implicitkit.degradations.base import Degradation, Record, Step, check_ndim, crop_to, uniform
from implicitkit.images.resize import KERNELS, Kernel, resize, round_to_8_bits

DEFAULT_SCALES = (1.0, 4.0)
ROUNDING_SLACK = 1e-6  # 48 * 3.3 / 3.3 must give 48


class SuperResolution(Degradation):
    """Shrinks a picture by ``scale`` (or to ``size``).

    The low-resolution picture has ``floor(S / scale)`` pixels per axis and covers ``round(floor(S / scale) * scale)``
    pixels of the clean one; ``Degraded.reference`` is cropped to these. (As in LIIF's training and its protocol for
    scales above 4.)

    Args:
        scale: a factor of at least 1, a range ``[low, high]`` to draw from uniformly, or, with ``per_axis``, one
            factor per axis (default: ``[1, 4]``, what LIIF is trained on; with ``size``, none).
        size: pixels of the result per axis, instead of ``scale``; it covers the whole picture.
        per_axis: read ``scale`` as ``(scale_y, scale_x)``, not as a range; of a volume, ``[4, 1, 1]`` leaves every
            fourth slice, four times as thick.
        kernel: ``"matlab"`` or ``"pil"``, see :func:`implicitkit.images.resize.resize`.
        quantise: round the result to 8 bits (the gradient is the identity's).
        ndim: 2, or 3 for volumes ``(C, D, H, W)``.

    >>> SuperResolution(scale=[1, 4])(torch.rand(3, 40, 40)).mask.unique()
    tensor([0.])
    """

    shared = ("scale",)

    def __init__(
        self,
        scale: float | Sequence[float] | None = None,
        size: Sequence[int] | None = None,
        per_axis: bool = False,
        kernel: Kernel = "matlab",
        quantise: bool = False,
        ndim: int = 2,
    ) -> None:
        self.ndim = check_ndim("super_resolution", ndim)
        if scale is not None and size is not None:
            raise ValueError(f"super_resolution takes either scale or size; received scale={scale!r}, size={size!r}")
        if scale is None and size is None:
            scale = DEFAULT_SCALES
        if kernel not in KERNELS:
            raise ValueError(f"the kernel is one of {', '.join(KERNELS)}; received {kernel!r}")
        self.kernel, self.quantise, self.per_axis = kernel, quantise, per_axis
        self.size = None if size is None else check_size(size, len(size))
        factors = [] if scale is None else [float(s) for s in (scale if isinstance(scale, Sequence) else [scale])]
        if (scale is not None and not factors) or any(not math.isfinite(s) or s < 1 for s in factors):
            raise ValueError(f"a scale is a finite number of at least 1 (2 halves the size); received {scale!r}")
        if len(factors) == 2 and not per_axis and factors[0] > factors[1]:
            raise ValueError(f"a range of scales is [low, high]; received {scale!r}")
        if len(factors) > 2 and not per_axis:
            raise ValueError(f"scale is one number or a range [low, high]; received {scale!r}")
        self.factors = tuple(factors)

    def sample(self, shape: Sequence[int], generator: torch.Generator) -> Record:
        ndim = len(shape) - 1
        if self.size is not None:
            return {"name": "super_resolution", "size": list(check_size(self.size, ndim))}
        if self.per_axis:
            if len(self.factors) != ndim:
                raise ValueError(f"per_axis takes {ndim} scales; received {len(self.factors)}")
            scale = list(self.factors)
        else:
            scale = [uniform(self.factors[0], self.factors[-1], generator)] * ndim
        return {"name": "super_resolution", "scale": scale}

    def degrade(self, image: Tensor, mask: Tensor, record: Record) -> Step:
        size, covered = self._sizes(tuple(image.shape[2:]), record)
        low = resize(crop_to(image, covered), size, self.kernel).clamp(0, 1)
        if self.quantise:
            low = round_to_8_bits(low)
        return Step(low, _any_missing(crop_to(mask, covered), size), covered)

    def output_shape(self, shape: Sequence[int], record: Record) -> Size:
        return (shape[0], *self._sizes(tuple(shape[1:]), record)[0])

    def source_size(self, size: Sequence[int], record: Record) -> Size:
        if "size" in record:
            raise ValueError(
                "super_resolution with a fixed size does not define the size of its source; give it a scale to train"
            )
        return tuple(math.ceil(n * s - ROUNDING_SLACK) for n, s in zip(size, record["scale"], strict=True))

    def _sizes(self, source: Size, record: dict[str, Any]) -> tuple[Size, Size]:
        """The low-resolution size, and the pixels of the source it covers."""
        if "size" in record:
            return tuple(record["size"]), source
        size = tuple(math.floor(n / s + ROUNDING_SLACK) for n, s in zip(source, record["scale"], strict=True))
        if 0 in size:
            sides = "×".join(map(str, source))
            raise ValueError(f"a picture of {sides} pixels has nothing left at scale {record['scale']}")
        return size, tuple(min(n, round(m * s)) for n, m, s in zip(source, size, record["scale"], strict=True))


def _any_missing(mask: Tensor, size: Size) -> Tensor:
    """1 where any source pixel is missing; adaptive pooling reads all pixels that a low-resolution one overlaps."""
    if not mask.any():
        return mask.new_zeros(*mask.shape[:2], *size)
    pool = F.adaptive_max_pool2d if len(size) == 2 else F.adaptive_max_pool3d
    return pool(mask, list(size))

"""The metric contract: a prediction, the truth and an optional mask of the pixels that count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from implicitkit.images.picture import MAX_VALUE
from implicitkit.printing import with_settings


class Metric:
    """Compares a prediction with the truth as one number; a subclass writes :meth:`measure`.

    Args:
        shave: pixels to ignore at every border, or ``(rows, columns)``.

    Attributes:
        name: its name in results, such as ``psnr_y``.
        unit: ``"dB"``, or nothing.
        higher_is_better: the direction.
        takes_mask: whether it can be restricted to some pixels.

    >>> class Largest(Metric):
    ...     name, higher_is_better = "largest", False
    ...     def measure(self, prediction, target, mask):
    ...         return float((prediction - target).abs().max())
    >>> Largest(shave=1)(Tensor([[[9.0] * 3, [9.0, 0.5, 9.0], [9.0] * 3]]), Tensor(1, 3, 3).zero_())
    0.5
    """

    name: str
    unit: ClassVar[str] = ""
    higher_is_better: ClassVar[bool] = True
    takes_mask: ClassVar[bool] = True
    spec: Any = None

    def __init__(self, shave: int | Sequence[int] = 0) -> None:
        self.shave = shave

    def __repr__(self) -> str:
        return with_settings(self)

    def measure(self, prediction: Tensor, target: Tensor, mask: Tensor | None) -> float:
        """The score of float64 pictures ``(..., C, H, W)``, checked and shaved; ``mask`` ``(..., 1, H, W)`` is 1 where
        a pixel counts (None: everywhere).
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement measure()")

    def __call__(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> float:
        """The score of one picture, or of all pixels of a batch.

        Args:
            prediction: ``(..., C, H, W)`` in [0, 1]; not clamped here.
            target: the truth, of the same shape.
            mask: ``(..., 1, H, W)``, 1 where a pixel counts (default: everywhere). Without such a pixel the score is
                ``nan``.

        Raises:
            ValueError: shapes differ, the pictures are not of floating point, the truth is far above 1, shaving leaves
                nothing, or the metric takes no mask.
        """
        if prediction.shape != target.shape:
            raise ValueError(
                f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} must have one shape"
            )
        if prediction.ndim < 3 or not (prediction.is_floating_point() and target.is_floating_point()):
            raise ValueError(
                f"{self.name} compares floating-point pictures (..., C, H, W) in [0, 1]; received {prediction.dtype} "
                f"and {target.dtype} of shape {tuple(prediction.shape)}"
            )
        if mask is not None:
            if not self.takes_mask:
                raise ValueError(f"{self.name} scores whole pictures; it takes no mask")
            if mask.ndim < 3 or mask.shape[-3] != 1 or mask.shape[-2:] != target.shape[-2:]:
                height, width = target.shape[-2:]
                raise ValueError(f"a mask is (..., 1, {height}, {width}) here; received {tuple(mask.shape)}")
            mask = shaved(mask, self.shave)
        prediction, target = (shaved(p.detach(), self.shave).double() for p in (prediction, target))
        if target.numel() and float(target.max()) > MAX_VALUE:  # a prediction may be as bad as it is
            raise ValueError(
                f"{self.name} compares pictures in [0, 1]; received a truth of up to {float(target.max()):g} (divide "
                "8-bit values by 255)"
            )
        return self.measure(prediction, target, mask)


def shaved(picture: Tensor, shave: int | Sequence[int]) -> Tensor:
    """``picture`` ``(..., H, W)`` without its outermost ``shave`` pixels, or ``(rows, columns)`` of them.

    Raises:
        ValueError: nothing remains, or a number is negative.

    >>> shaved(Tensor(3, 10, 12), (1, 2)).shape
    torch.Size([3, 8, 8])
    """
    cuts = [shave] * 2 if isinstance(shave, int) else list(shave)
    height, width = picture.shape[-2:]
    if len(cuts) != 2 or any(cut < 0 for cut in cuts):
        raise ValueError(
            f"shave is a number of pixels of at least 0, or one per axis (rows, columns); received {shave}"
        )
    for cut, side in zip(cuts, (height, width), strict=True):
        if cut and 2 * cut >= side:
            raise ValueError(f"a picture of {width}×{height} has nothing left after shaving {cut} pixels")
    return picture[..., cuts[0] : height - cuts[0], cuts[1] : width - cuts[1]]


def mean_where(values: Tensor, mask: Tensor | None) -> float:
    """The mean of ``values`` ``(..., C, H, W)`` over the pixels where ``mask`` ``(..., 1, H, W)`` is 1; ``nan`` over
    none.
    """
    if mask is not None:
        values = values[mask.expand_as(values) > 0.5]
    return float(values.mean())

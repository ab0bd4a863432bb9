"""Losses of single points: L1, L2, Charbonnier, PSNR; missing pixels and the luma may count more."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor

from implicitkit.coordinates import nearest_index
from implicitkit.devices import constants
from implicitkit.losses.base import Batch, Loss
from implicitkit.metrics.psnr import LUMA_WEIGHTS

if TYPE_CHECKING:
    from implicitkit.field.field import Prediction


class Pointwise(Loss):
    """The mean over points and channels of a function of the difference; a subclass writes :meth:`of`.

    Args:
        hole_weight: weight of points whose pixel is missing; 1 elsewhere.
        luma: share, in [0, 1], of the loss of the difference's luma (as in PSNR-Y); the rest is that of the channels.

    >>> class Cubic(Pointwise):
    ...     def of(self, difference):
    ...         return difference.abs() ** 3
    >>> Cubic(hole_weight=2).hole_weight
    2
    """

    reads = ()

    def __init__(self, hole_weight: float = 1.0, luma: float = 0.0) -> None:
        if not (hole_weight >= 0 and math.isfinite(hole_weight)):
            raise ValueError(f"hole_weight is a finite number of at least 0; received {hole_weight}")
        if not 0 <= luma <= 1:
            raise ValueError(f"luma is a share in [0, 1]; received {luma}")
        self.hole_weight, self.luma = hole_weight, luma

    def of(self, difference: Tensor) -> Tensor:
        """The loss of each difference."""
        raise NotImplementedError(f"{type(self).__name__} does not implement of()")

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        difference = difference_of(prediction, batch, type(self).__name__)
        each = self.of(difference)
        if self.luma:
            each = (1 - self.luma) * each.mean(-1, keepdim=True) + self.luma * self.of(luma_of(difference))
        if self.hole_weight == 1:
            return each.mean()
        weight = 1 + (self.hole_weight - 1) * missing_at(batch["mask"], batch["coords"])
        return (each * weight).mean() / weight.mean().clamp(min=1e-9)


class L1(Pointwise):
    """Mean absolute difference.

    >>> from implicitkit import Prediction
    >>> L1()(Prediction(Tensor([[[0.5], [0.0]]]), {}), {"target": Tensor([[[0.0], [0.0]]])})
    tensor(0.2500)
    """

    def of(self, difference: Tensor) -> Tensor:
        return difference.abs()


class L2(Pointwise):
    """Mean squared difference.

    >>> from implicitkit import Prediction
    >>> L2()(Prediction(Tensor([[[0.5], [0.0]]]), {}), {"target": Tensor([[[0.0], [0.0]]])})
    tensor(0.1250)
    """

    def of(self, difference: Tensor) -> Tensor:
        return difference.square()


class Charbonnier(Pointwise):
    """Mean of ``sqrt(difference² + eps²)``: L1 with a rounded tip (LapSRN, CVPR 2017, equation 4).

    Args:
        eps: where L1 turns into L2, in the values' own unit; positive.
        hole_weight: see :class:`Pointwise`.
        luma: see :class:`Pointwise`.

    >>> from implicitkit import Prediction
    >>> Charbonnier(eps=3)(Prediction(Tensor([[[4.0]]]), {}), {"target": Tensor([[[0.0]]])})
    tensor(5.)
    """

    def __init__(self, eps: float = 1e-3, hole_weight: float = 1.0, luma: float = 0.0) -> None:
        super().__init__(hole_weight, luma)
        if not (eps > 0 and math.isfinite(eps)):
            raise ValueError(f"charbonnier takes a finite eps above 0; received {eps}")
        self.eps = eps

    def of(self, difference: Tensor) -> Tensor:
        return (difference.square() + self.eps**2).sqrt()


class PSNR(Loss):
    """Minus the mean PSNR of the pictures, in dB, as for restoration in NAFNet (Chen et al., ECCV 2022).

    Args:
        hole_weight: weight of points whose pixel is missing in their picture's mean squared error; 1 elsewhere.
        eps: added to the mean squared error, so that a perfect picture has a finite loss.

    >>> import torch
    >>> from implicitkit import Prediction
    >>> batch = {"target": torch.zeros(1, 4, 3)}
    >>> round(float(PSNR()(Prediction(torch.full((1, 4, 3), 0.1), {}), batch)), 2)
    -20.0
    """

    reads = ()

    def __init__(self, hole_weight: float = 1.0, eps: float = 1e-6) -> None:
        if not (hole_weight >= 0 and math.isfinite(hole_weight)) or not eps > 0:
            raise ValueError(f"psnr takes a finite hole_weight >= 0 and eps > 0; received {hole_weight} and {eps}")
        self.hole_weight, self.eps = hole_weight, eps

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        error = difference_of(prediction, batch, "psnr").square().mean(-1)
        if self.hole_weight != 1:
            weight = 1 + (self.hole_weight - 1) * missing_at(batch["mask"], batch["coords"])[..., 0]
            error = error * weight / weight.mean(-1, keepdim=True).clamp(min=1e-9)
        loss: Tensor = 10 * (error.mean(-1) + self.eps).log10().mean()
        return loss


def difference_of(prediction: Prediction, batch: Batch, name: str) -> Tensor:
    """Prediction minus target, ``(B, N, 3)``.

    Raises:
        ValueError: the model's values are no picture; the message names the loss, ``name``.
    """
    values, target = prediction.values, batch["target"]
    if values.shape != target.shape:
        raise ValueError(
            f"{name} compares the model's {values.shape[-1]} values per point with a picture's {target.shape[-1]}; "
            "use another loss for a decoder of embeddings"
        )
    difference: Tensor = values - target
    return difference


def luma_of(difference: Tensor) -> Tensor:
    """The luma ``(B, N, 1)`` of differences ``(B, N, 3)`` (ITU-R BT.601, as in PSNR-Y).

    Raises:
        ValueError: there are not three channels.

    >>> luma_of(Tensor([[[1.0, 1.0, 1.0]]]))
    tensor([[[0.8588]]])
    """
    if difference.shape[-1] != 3:
        raise ValueError(f"luma is that of three channels; the model's values have {difference.shape[-1]}")
    return difference @ constants(LUMA_WEIGHTS, difference.dtype, difference.device)[:, None]


def missing_at(mask: Tensor, coords: Tensor) -> Tensor:
    """The mask ``(B, 1, H, W)`` at the pixels of ``coords`` ``(B, N, 2)``, as ``(B, N, 1)``.

    >>> missing_at(Tensor([[[[0.0, 1.0]]]]), Tensor([[[0.0, 0.9]]]))
    tensor([[[1.]]])
    """
    height, width = mask.shape[2:]
    y, x = nearest_index(coords[..., 0].float(), height), nearest_index(coords[..., 1].float(), width)
    return mask.flatten(1).gather(1, y * width + x)[..., None]

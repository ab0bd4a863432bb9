"""Losses by name. A loss is a callable that reads a model's prediction and the batch it was made for: predicted and
clean values, ``prediction.values`` and ``batch["target"]``, are ``(B, N, out)``; a scalar comes back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from implicitkit.field import Prediction


class Loss:
    """What the trainer minimises. A subclass writes :meth:`__call__`."""

    spec: Any = None

    def __call__(self, prediction: Prediction, batch: Mapping[str, Tensor]) -> Tensor:
        """The loss of a model's prediction, a scalar with a gradient."""
        raise NotImplementedError(f"{type(self).__name__} does not implement __call__()")


class L1(Loss):
    """Mean absolute difference."""

    def __call__(self, prediction: Prediction, batch: Mapping[str, Tensor]) -> Tensor:
        return (prediction.values - batch["target"]).abs().mean()


class L2(Loss):
    """Mean squared difference."""

    def __call__(self, prediction: Prediction, batch: Mapping[str, Tensor]) -> Tensor:
        return (prediction.values - batch["target"]).square().mean()


class Charbonnier(Loss):
    """Mean of ``sqrt(difference² + eps²)``: L1 with a rounded tip (LapSRN, CVPR 2017, equation 4).

    Args:
        eps: where L1 turns into L2, in the values' own unit; positive.
    """

    def __init__(self, eps: float = 1e-3) -> None:
        if not (eps > 0 and math.isfinite(eps)):
            raise ValueError(f"charbonnier takes a finite eps above 0; received {eps}")
        self.eps = eps

    def __call__(self, prediction: Prediction, batch: Mapping[str, Tensor]) -> Tensor:
        return ((prediction.values - batch["target"]).square() + self.eps**2).sqrt().mean()

"""Losses by name. A loss is a callable that reads a model's prediction and the batch it was made for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from implicitkit.field import Prediction


class L1:
    """Mean absolute difference between predicted and clean values."""

    def __call__(self, prediction: Prediction, batch: Mapping[str, Tensor]) -> Tensor:
        """``prediction.values`` and ``batch["target"]`` are ``(B, N, out)``; a scalar comes back."""
        return (prediction.values - batch["target"]).abs().mean()

"""Mean absolute difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from implicitkit.metrics.base import Metric, mean_where


class L1(Metric):
    """Mean of ``|prediction - target|`` over all channels and pixels, of values in [0, 1].

    >>> L1(shave=1)(Tensor(3, 4, 4).zero_(), Tensor(3, 4, 4).fill_(0.5))
    0.5
    """

    name = "l1"
    higher_is_better: ClassVar[bool] = False

    def measure(self, prediction: Tensor, target: Tensor, mask: Tensor | None) -> float:
        return mean_where((prediction - target).abs(), mask)


def l1(prediction: Tensor, target: Tensor, shave: int | Sequence[int] = 0, mask: Tensor | None = None) -> float:
    """:class:`L1` as a function.

    >>> l1(Tensor([[[0.5, 0.0]]]), Tensor([[[0.0, 0.0]]]))
    0.25
    """
    return L1(shave)(prediction, target, mask)

"""A weighted sum of losses."""

from __future__ import annotations

import pytest
import torch

import implicitkit as ik
from implicitkit.field.field import Prediction
from implicitkit.losses import WeightedLoss


@pytest.fixture
def values() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(2, 5, 3, dtype=torch.float64, requires_grad=True), torch.rand(2, 5, 3, dtype=torch.float64)


def test_a_total_weighs_its_terms(values: tuple[torch.Tensor, torch.Tensor]) -> None:
    predicted, clean = values
    total = WeightedLoss([{"name": "l1"}, {"name": "l2", "weight": 0.25}, {"name": "l1", "weight": 2}])
    each = total.each(Prediction(predicted, {}), {"target": clean})
    assert list(each) == ["l1", "l2", "l1_3"]
    difference = predicted - clean
    wanted = 3 * difference.abs().mean() + 0.25 * difference.square().mean()
    torch.testing.assert_close(total.sum(each), wanted)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.ones(2, 3), r"odd returned a tensor of shape \[2, 3\], torch.float32; a loss is a real scalar"),
        (torch.ones(1), r"odd returned a tensor of shape \[1\]"),
        (0.5, "odd returned float; a loss returns a tensor, a scalar"),
        (None, "odd returned NoneType"),
    ],
)
def test_a_loss_that_is_no_scalar_is_named(value: object, message: str) -> None:
    losses = WeightedLoss([{"name": "l1"}])
    losses.terms = {"odd": (1.0, lambda prediction, batch: value)}
    with pytest.raises(ik.ConfigError, match=message):
        losses.each(None, {})  # type: ignore[arg-type]

"""Losses against their formulas, number by number."""

import math

import pytest
import torch

import implicitkit as ik
from implicitkit.field import Prediction

LITERAL = {
    "l1": abs,
    "l2": lambda d: d * d,
    "charbonnier": lambda d: math.sqrt(d * d + 1e-6),
}


@pytest.fixture
def values() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(2, 5, 3, dtype=torch.float64, requires_grad=True), torch.rand(2, 5, 3, dtype=torch.float64)


def test_every_built_in_loss_is_tested() -> None:
    assert set(ik.list_losses()) == set(LITERAL)


@pytest.mark.parametrize("name", LITERAL)
def test_is_the_literal_formula(name: str, values: tuple[torch.Tensor, torch.Tensor]) -> None:
    predicted, clean = values
    loss = ik.create_loss(name)(Prediction(predicted, {}), {"target": clean})
    differences = (predicted - clean).flatten().tolist()
    assert loss.shape == () and loss.item() == pytest.approx(sum(map(LITERAL[name], differences)) / 30, abs=1e-12)
    loss.backward()
    assert predicted.grad is not None and torch.equal(predicted.grad.sign(), (predicted - clean).sign())


def test_charbonnier_is_smooth_where_l1_is_not() -> None:
    zero = torch.zeros(1, 1, 3, requires_grad=True)
    loss = ik.create_loss({"name": "charbonnier", "eps": 0.5})(Prediction(zero, {}), {"target": torch.zeros(1, 1, 3)})
    loss.backward()
    assert loss.item() == 0.5 and torch.equal(zero.grad, torch.zeros(1, 1, 3))
    for eps in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"eps above 0; received {eps}"):
            ik.create_loss("charbonnier", eps=float(eps))
    with pytest.raises(ik.ArgumentError, match="did you mean 'eps'"):
        ik.create_loss("charbonnier", epsilon=1)

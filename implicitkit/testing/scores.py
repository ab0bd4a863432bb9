"""The contract of losses and metrics."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch

from implicitkit.coordinates import cell_size, grid
from implicitkit.create import create_loss, create_metric
from implicitkit.field.field import Prediction
from implicitkit.losses.base import Loss

Spec = str | Mapping[str, Any]


def check_loss(spec: Spec) -> None:
    """Assert that a loss is a finite scalar with its minimum at the truth and a gradient that leads towards it.

    A loss that learns has no such minimum: it is finite, has a gradient, changes when it learns, and is restored.

    Args:
        spec: a name or a spec.

    >>> check_loss({"name": "l1", "hole_weight": 2})
    """
    loss = create_loss(spec)
    generator = torch.Generator().manual_seed(0)
    window = (40, 36)
    target = torch.rand(2, math.prod(window), 3, generator=generator)
    values = (target + 0.1 * torch.randn(target.shape, generator=generator)).requires_grad_()
    batch = {"target": target, "mask": torch.zeros(2, 1, *window), "window": window}
    batch |= {"coords": grid(window).expand(2, -1, -1), "cell": cell_size(window).expand(2, 1, -1)}
    at_values = loss(Prediction(values, {}), batch)
    assert at_values.shape == () and torch.isfinite(at_values), f"a loss is one finite number; received {at_values}"
    (gradient,) = torch.autograd.grad(at_values, values)
    assert torch.isfinite(gradient).all() and gradient.any(), "no finite gradient reaches the values"
    if isinstance(loss, Loss) and loss.learns:
        before, state = at_values.item(), copy.deepcopy(loss.state_dict())
        loss.learn(lambda tensor: tensor)
        with torch.no_grad():
            assert float(loss(Prediction(values, {}), batch)) != before, "learn() changes nothing"
            loss.load_state_dict(state)
            assert float(loss(Prediction(values, {}), batch)) == before, "state_dict() does not hold all that learns"
        return
    nearer = values.detach() - 1e-3 * gradient / gradient.abs().max()
    assert loss(Prediction(nearer, {}), batch) < at_values, "a step down the gradient is no better"
    assert loss(Prediction(target, {}), batch) < at_values, "the truth is not better than an error"


def check_metric(spec: Spec, *, size: tuple[int, int] = (40, 33)) -> None:
    """Assert that a metric is a float that ranks the truth above a small error and that above a large one, does not
    change its inputs and obeys a mask if it takes one.

    Args:
        spec: a name or a spec.
        size: of the test pictures.

    >>> check_metric("psnr_y")
    """
    metric = create_metric(spec)
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(3, *size, generator=generator)
    noise = torch.randn(3, *size, generator=generator)
    pictures = [truth, (truth + 0.02 * noise).clamp(0, 1), (truth + 0.3 * noise).clamp(0, 1)]
    before = [p.clone() for p in pictures]
    scores = [metric(p, truth) for p in pictures]
    assert all(isinstance(score, float) and not math.isnan(score) for score in scores), f"not numbers: {scores}"
    ranked = sorted(scores, reverse=metric.higher_is_better)
    assert scores == ranked and len(set(scores)) == 3, (
        f"truth, small and large error score {scores}, but higher_is_better is {metric.higher_is_better}"
    )
    assert all(torch.equal(p, q) for p, q in zip(pictures, before, strict=True)), "a picture was changed"
    again = metric(pictures[1].flip(-1), truth.flip(-1))
    assert math.isclose(again, scores[1], rel_tol=0.05), f"mirrored pictures score {again}, not {scores[1]}"
    if metric.takes_mask:
        everywhere, nowhere = torch.ones(1, *size), torch.zeros(1, *size)
        assert math.isclose(metric(pictures[1], truth, everywhere), scores[1], rel_tol=1e-9), (
            "a mask of ones changes the score"
        )
        assert math.isnan(metric(pictures[1], truth, nowhere)), "a mask that counts nothing must give nan"

"""The learning rate as a function of the step."""

from __future__ import annotations

import math

from implicitkit.config import OptimiserConfig
from implicitkit.training.optimisation.schedule import learning_rate


def test_schedules() -> None:
    step = OptimiserConfig(lr=1.0)
    assert [learning_rate(s, 10, step) for s in (0, 2, 4, 6, 8)] == [1, 0.5, 0.25, 0.125, 0.0625]
    cosine = OptimiserConfig(lr=1.0, schedule="cosine", warmup=2, final_lr=0.1)
    rates = [learning_rate(s, 12, cosine) for s in range(12)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert math.isclose(rates[7], 0.55) and rates[-1] < 0.13

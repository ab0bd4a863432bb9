"""The learning rate as a function of the step alone, so that a resumed run continues exactly."""

from __future__ import annotations

import math

from implicitkit.config import OptimiserConfig


def learning_rate(step: int, steps: int, config: OptimiserConfig) -> float:
    """The rate for ``step`` (from 0) of ``steps``: linear warm-up, then constant, cosine or steps.

    >>> config = OptimiserConfig(lr=1.0, warmup=2, schedule="cosine")
    >>> [round(learning_rate(step, 10, config), 2) for step in (0, 1, 6, 9)]
    [0.5, 1.0, 0.5, 0.04]
    """
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    match config.schedule:
        case "cosine":
            progress = (step - config.warmup) / max(1, steps - config.warmup)
            return config.final_lr + (config.lr - config.final_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        case "step":
            return config.lr * config.gamma ** sum(step >= m * steps for m in config.milestones)
        case _:
            return config.lr

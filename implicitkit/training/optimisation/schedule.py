"""The learning rate as a function of the step alone, so that a resumed run continues exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from implicitkit.config import OptimiserConfig
from implicitkit.create import create_schedule
from implicitkit.printing import with_settings
from implicitkit.registry.kinds import schedules


class Schedule:
    """The learning rate after the warm-up; a subclass writes :meth:`rate`.

    Its constructor's arguments are its options in a configuration.

    Attributes:
        warmup: steps of linear growth that come before, as configured.

    >>> class Halving(Schedule):
    ...     def rate(self, step, steps, lr):
    ...         return lr / 2 ** (4 * step // steps)
    >>> [Halving()(step, 100, 1.0) for step in (0, 25, 99)]
    [1.0, 0.5, 0.125]
    """

    warmup: int = 0
    spec: Any = None

    def __repr__(self) -> str:
        return with_settings(self)

    def rate(self, step: int, steps: int, lr: float) -> float:
        """The rate for ``step`` (from 0) of ``steps``, ``lr`` being the configured one."""
        raise NotImplementedError(f"{type(self).__name__} does not implement rate()")

    def progress(self, step: int, steps: int) -> float:
        """How far ``step`` is from the end of the warm-up to the end of the run, in [0, 1]."""
        return min(1.0, (step - self.warmup) / max(1, steps - self.warmup))

    def __call__(self, step: int, steps: int, lr: float) -> float:
        """The rate for ``step`` of ``steps``, warm-up included."""
        if step < self.warmup:
            return lr * (step + 1) / self.warmup
        return self.rate(step, steps, lr)


class Constant(Schedule):
    """The learning rate as it is.

    >>> Constant()(5, 10, 0.1)
    0.1
    """

    def rate(self, step: int, steps: int, lr: float) -> float:
        return lr


class Cosine(Schedule):
    """Half a cosine from the learning rate down to ``final_lr`` (Loshchilov and Hutter, 2017).

    >>> Cosine(final_lr=0.5)(5, 10, 1.0)
    0.75
    """

    def __init__(self, final_lr: float = 0.0) -> None:
        self.final_lr = final_lr

    def rate(self, step: int, steps: int, lr: float) -> float:
        return self.final_lr + (lr - self.final_lr) * 0.5 * (1 + math.cos(math.pi * self.progress(step, steps)))


class MultiStep(Schedule):
    """Times ``gamma`` at each of ``milestones``, fractions of all steps.

    >>> MultiStep([0.5], 0.1)(5, 10, 1.0)
    0.1
    """

    def __init__(self, milestones: Sequence[float] = (0.2, 0.4, 0.6, 0.8), gamma: float = 0.5) -> None:
        self.milestones, self.gamma = list(milestones), gamma

    def rate(self, step: int, steps: int, lr: float) -> float:
        passed = sum(step >= m * steps for m in self.milestones)
        return lr * float(self.gamma**passed)


class Polynomial(Schedule):
    """Down to ``final_lr`` by a power of what is left; a line where ``power`` is 1.

    >>> Polynomial()(5, 10, 1.0), Polynomial(power=2)(5, 10, 1.0)
    (0.5, 0.25)
    """

    def __init__(self, final_lr: float = 0.0, power: float = 1.0) -> None:
        self.final_lr, self.power = final_lr, power

    def rate(self, step: int, steps: int, lr: float) -> float:
        remaining = float((1 - self.progress(step, steps)) ** self.power)
        return self.final_lr + (lr - self.final_lr) * remaining


class Exponential(Schedule):
    """Down to ``final_lr`` by one factor per step; a hundredth of the learning rate where it is 0.

    >>> round(Exponential(final_lr=0.25)(5, 10, 1.0), 6)
    0.5
    """

    def __init__(self, final_lr: float = 0.0) -> None:
        self.final_lr = final_lr

    def rate(self, step: int, steps: int, lr: float) -> float:
        end = self.final_lr or lr / 100
        return lr * float((end / lr) ** self.progress(step, steps))


def build_schedule(config: OptimiserConfig) -> Schedule:
    """The schedule of a configuration; ``milestones``, ``gamma`` and ``final_lr`` beside it go to those that take them.

    Raises:
        UnknownNameError: no schedule has this name.
        ArgumentError: it does not take one of its options.

    >>> build_schedule(OptimiserConfig(schedule={"name": "polynomial", "power": 2}, warmup=3)).warmup
    3
    """
    given = config.schedule.as_dict()
    beside = {key: getattr(config, key) for key in ("milestones", "gamma", "final_lr")}
    takes = schedules.options(config.schedule.name)
    schedule: Schedule = create_schedule(
        {**{k: v for k, v in beside.items() if takes is not None and k in takes}, **given}
    )
    schedule.warmup = config.warmup
    return schedule


def learning_rate(step: int, steps: int, config: OptimiserConfig) -> float:
    """The rate for ``step`` (from 0) of ``steps``; at every step, :func:`build_schedule` is faster.

    >>> config = OptimiserConfig(lr=1.0, warmup=2, schedule="cosine")
    >>> [round(learning_rate(step, 10, config), 2) for step in (0, 1, 6, 9)]
    [0.5, 1.0, 0.5, 0.04]
    """
    return _schedule_of(config.model_dump_json())(step, steps, config.lr)


@lru_cache(maxsize=8)
def _schedule_of(config: str) -> Schedule:
    """The schedule of a section ``optimiser``, as JSON, built once."""
    return build_schedule(OptimiserConfig.model_validate_json(config))

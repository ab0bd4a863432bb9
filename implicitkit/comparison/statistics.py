"""Whether a difference is more than chance: paired bootstrap over pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95
AT_A_TIME = 1 << 22  # drawn indices


@dataclass(frozen=True)
class Difference:
    """A mean difference over pictures and the interval it lies in.

    Attributes:
        mean: method minus reference.
        low: the interval's lower end.
        high: its upper end.
        pictures: how many pairs it is of.
    """

    mean: float
    low: float
    high: float
    pictures: int

    @property
    def excludes_zero(self) -> bool:
        """Whether all of the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(
    differences: Sequence[float], resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> Difference:
    """The percentile interval of the mean of ``differences`` when as many pictures are drawn again with replacement
    (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).

    Args:
        differences: one per picture.
        resamples: how often they are drawn.
        level: the share of the resampled means that the interval holds, in (0, 1).
        seed: of the drawing.

    Raises:
        ValueError: there is no difference, or a number is out of range.
    """
    values = np.asarray(differences, dtype=np.float64)
    if not len(values) or not np.isfinite(values).all() or resamples < 1 or not 0 < level < 1:
        raise ValueError(
            f"a bootstrap takes finite differences, one at least, resamples >= 1 and a level in (0, 1); received "
            f"{len(values)} differences, {resamples} and {level}"
        )
    generator, rows = np.random.default_rng(seed), max(1, AT_A_TIME // len(values))
    means: list[float] = []
    while len(means) < resamples:
        drawn = generator.integers(len(values), size=(min(rows, resamples - len(means)), len(values)))
        means += values[drawn].mean(1).tolist()
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Difference(float(values.mean()), float(low), float(high), len(values))


def over_seeds(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Each picture's mean score over the runs of one method; pictures that not all runs have a finite score of are
    left out.
    """
    shared = [p for p in runs[0] if all(p in run and math.isfinite(run[p]) for run in runs)] if runs else []
    return {picture: sum(run[picture] for run in runs) / len(runs) for picture in shared}


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean over seeds and their standard deviation (n - 1); None for a single one."""
    mean = sum(values) / len(values) if values else math.nan
    if len(values) < 2:
        return mean, None
    return mean, math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))

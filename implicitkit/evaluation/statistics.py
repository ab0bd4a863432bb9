"""Whether a difference is more than chance: a bootstrap over seeds × pictures, and Holm's correction."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

RESAMPLES = 10_000
LEVEL = 0.95
BATCH = 500  # resamples at a time, to bound memory

Runs = Sequence[Mapping[str, Any]]
"""One mapping per seed: picture -> score; null, as JSON writes infinity, is no finite score."""
PerPicture = Mapping[str, Mapping[str, Mapping[str, float]]]
"""``[setting][metric][picture]``: the scores of one run, as :class:`~implicitkit.evaluation.scores.Scores` has them."""
Indices = NDArray[np.int64]
RANKS = {0.0: "best", 0.5: "median", 1.0: "worst"}


@dataclass(frozen=True)
class Difference:
    """A mean difference, the interval it lies in, and how likely it is by chance.

    Attributes:
        mean: method minus reference, over seeds and pictures.
        low: the interval's lower end.
        high: its upper end.
        p: two-sided, for a difference of zero.
        pictures: how many pictures were scored by both.
        seeds: of the method, and of the reference.
    """

    mean: float
    low: float
    high: float
    p: float
    pictures: int
    seeds: tuple[int, int]

    @property
    def excludes_zero(self) -> bool:
        """Whether all of the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


def bootstrap_difference(
    method: Runs, reference: Runs, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> Difference | None:
    """The mean difference of two methods, with its BCa interval when seeds and pictures are drawn again.

    Each resample draws the method's seeds, the reference's seeds and the pictures, all with replacement. The pictures
    drawn are the same for all seeds, since all seeds were scored on one test set (the pigeonhole bootstrap; Owen,
    Annals of Applied Statistics 1, 2007). Of what there is only one of, nothing is drawn. The interval is corrected
    for bias and acceleration (Efron, JASA 82, 1987). Few seeds understate how much seeds differ.

    Args:
        method: a mapping per seed, picture -> score.
        reference: likewise; pictures that any run has no finite score of are left out.
        resamples: how often seeds and pictures are drawn.
        level: the share of the resampled means that the interval holds, in (0, 1).
        seed: of the drawing.

    Returns:
        None if no picture is shared.

    Example:
        >>> one = bootstrap_difference([{"a": 3.0, "b": 2.0, "c": 2.5}], [{"a": 1.0, "b": 1.0, "c": 1.0}])
        >>> one.mean, one.low > 0, one.pictures, one.seeds
        (1.5, True, 3, (1, 1))
    """
    pictures = shared_pictures([*method, *reference])
    if not pictures:
        return None
    ours, theirs = (np.array([[run[p] for p in pictures] for run in runs]) for runs in (method, reference))
    indices = [np.arange(n) for n in (len(ours), len(theirs), len(pictures))]
    drawn = [k for k, index in enumerate(indices) if len(index) > 1]

    def mean_difference(*samples: Indices, axis: int = -1) -> NDArray[np.float64]:
        of = dict(enumerate(indices)) | dict(zip(drawn, samples, strict=True))
        columns = of[2][..., None, :]
        difference = ours[of[0][..., :, None], columns].mean((-1, -2))
        return np.asarray(difference - theirs[of[1][..., :, None], columns].mean((-1, -2)))

    mean = float(ours.mean() - theirs.mean())
    low = high = mean
    p = 1.0
    if drawn and np.ptp(ours.mean(0) - theirs.mean(0)) + np.ptp(ours.mean(1)) + np.ptp(theirs.mean(1)) > 0:
        generator = np.random.default_rng(seed)
        how = {"n_resamples": resamples, "batch": BATCH, "confidence_level": level, "rng": generator}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where BCa is not defined, percentiles take its place
            result = bootstrap([indices[k] for k in drawn], mean_difference, method="BCa", vectorized=True, **how)
        means = result.bootstrap_distribution
        low, high = (float(end) for end in result.confidence_interval)
        if not (math.isfinite(low) and math.isfinite(high)):
            low, high = (float(end) for end in np.quantile(means, [(1 - level) / 2, (1 + level) / 2]))
        rarer = min(int((means <= 0).sum()), int((means >= 0).sum()))
        p = min(1.0, 2 * (rarer + 1) / (resamples + 1))
    elif mean:
        p = 1.0 if not drawn else 2 / (resamples + 1)  # all differences are equal
    return Difference(mean, low, high, p, len(pictures), (len(ours), len(theirs)))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of several tests, corrected so that one false alarm among all of them is as rare as the level says
    (Holm, Scandinavian Journal of Statistics 6, 1979).

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, k in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[k]))
        corrected[k] = largest
    return corrected


def differences(rows: Mapping[str, Mapping[str, PerPicture]], reference: str) -> dict[str, Any]:
    """All differences to one method, each a dictionary of what :class:`Difference` holds.

    Args:
        rows: method -> seed -> scores.
        reference: one of the methods.

    Returns:
        Method -> setting -> metric -> difference, with its ``p_holm``, corrected for all ``tests`` of one metric.
    """
    others = {label: list(seeds.values()) for label, seeds in rows.items() if label != reference}
    tests: dict[str, dict[tuple[str, str], Difference]] = defaultdict(dict)
    for label, runs in others.items():
        for setting, metrics in runs[0].items():
            for metric in metrics:
                ours, theirs = (
                    [run.get(setting, {}).get(metric, {}) for run in seeds]
                    for seeds in (runs, rows[reference].values())
                )
                if difference := bootstrap_difference(ours, theirs):
                    tests[metric][label, setting] = difference
    table: dict[str, Any] = {label: {} for label in others}
    for metric, family in tests.items():
        corrected = holm([difference.p for difference in family.values()])
        for ((label, setting), difference), p in zip(family.items(), corrected, strict=True):
            numbers = {**asdict(difference), "seeds": list(difference.seeds), "p_holm": p, "tests": len(family)}
            table[label].setdefault(setting, {})[metric] = numbers
    return table


def summary(runs: Sequence[PerPicture]) -> dict[str, Any]:
    """Setting -> metric -> ``mean`` and ``spread`` over the runs (seeds) of one method, and the ``seeds``' own means.

    >>> summary([{"4": {"psnr": {"a": 27.0, "b": 29.0}}}, {"4": {"psnr": {"a": 26.0, "b": 26.0}}}])["4"]["psnr"]["mean"]
    27.0
    """
    table: dict[str, Any] = {}
    for setting, metrics in runs[0].items():
        for metric in metrics:
            pictures = [list(run[setting][metric].values()) for run in runs]
            means = [sum(values) / len(values) if values else math.nan for values in pictures]
            mean, spread = mean_and_spread(means)
            table.setdefault(setting, {})[metric] = {"mean": mean, "spread": spread, "seeds": means}
    return table


def shared_pictures(runs: Runs) -> list[str]:
    """The pictures that all runs have a finite score of."""
    finite = [{p for p, score in run.items() if score is not None and math.isfinite(score)} for run in runs]
    return [picture for picture in runs[0] if all(picture in kept for kept in finite)] if runs else []


def gains_of(method: Runs, reference: Runs) -> dict[str, float]:
    """Picture -> method minus reference, both averaged over their seeds."""
    ours, theirs = (
        {p: sum(r[p] for r in runs) / len(runs) for p in shared_pictures(runs)} for runs in (method, reference)
    )
    return {picture: ours[picture] - theirs[picture] for picture in ours if picture in theirs}


def ranked(gains: Mapping[str, float], count: int) -> list[tuple[str, str]]:
    """Pictures spread evenly over the sorted gains, the best first: (what it is, picture).

    >>> ranked({"a": 0.1, "b": -0.5, "c": 2.0}, count=3)
    [('best gain', 'c'), ('median gain', 'a'), ('worst gain', 'b')]
    """
    pictures = sorted(gains, key=lambda picture: (-gains[picture], picture))
    count = min(count, len(pictures))
    shares = np.linspace(0, 1, count).tolist() if count != 1 else [0.5]
    ranks = [RANKS.get(share, f"{100 * (1 - share):.0f} %") for share in shares]
    places = [round(share * (len(pictures) - 1)) for share in shares]
    return [(f"{rank} gain", pictures[place]) for rank, place in zip(ranks, places, strict=True)]


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean over seeds and their standard deviation (n - 1); None for a single one."""
    if not values:
        return math.nan, None
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None

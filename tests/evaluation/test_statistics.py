"""The bootstrap over seeds × pictures and Holm's correction, against slow, literal versions."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from implicitkit.evaluation.statistics import (
    bootstrap_difference,
    differences,
    gains_of,
    holm,
    mean_and_spread,
    ranked,
    shared_pictures,
)


def scores(seeds: int, pictures: int, mean: float, seed: int, spread: float = 1.0) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    offsets = rng.normal(0, spread, seeds)
    return [{str(k): float(mean + offset + rng.normal()) for k in range(pictures)} for offset in offsets]


def literal_distribution(method: list[dict[str, float]], reference: list[dict[str, float]]) -> list[float]:
    """One resample at a time: seeds of the one, seeds of the other, pictures; the means of what was drawn."""
    rng, pictures, means = np.random.default_rng(1), list(method[0]), []
    for _ in range(3000):
        ours, theirs = ([runs[int(rng.integers(len(runs)))] for _ in runs] for runs in (method, reference))
        drawn = [pictures[int(rng.integers(len(pictures)))] for _ in pictures]
        mean = [sum(run[p] for run in runs for p in drawn) / len(runs) / len(drawn) for runs in (ours, theirs)]
        means.append(mean[0] - mean[1])
    return sorted(means)


@pytest.mark.parametrize(("seeds", "others"), [(1, 1), (5, 1), (4, 6)])
def test_the_interval_is_about_that_of_the_literal_version(seeds: int, others: int) -> None:
    method, reference = scores(seeds, 40, 0.5, 1), scores(others, 40, 0.0, 2)
    found = bootstrap_difference(method, reference)
    means = literal_distribution(method, reference)
    assert found is not None and found.pictures == 40 and found.seeds == (seeds, others)
    assert found.mean == pytest.approx(statistics.mean(r[p] for r in method for p in r) - statistics.mean(
        r[p] for r in reference for p in r))  # fmt: skip
    # percentiles there, corrected for bias and acceleration here: the ends differ by a fraction of the width
    low, high = means[round(0.025 * len(means))], means[round(0.975 * len(means))]
    assert abs(found.low - low) < 0.25 * (high - low) and abs(found.high - high) < 0.25 * (high - low)


def test_seeds_that_differ_widen_the_interval() -> None:
    """The same pictures: what is sure for one seed each is not for three that disagree."""
    rng = np.random.default_rng(0)
    base = {str(k): float(rng.normal()) for k in range(100)}
    method = [{p: v + offset for p, v in base.items()} for offset in (-0.5, 0.4, 0.6)]
    averaged = [{p: sum(run[p] for run in method) / 3 for p in base}]
    single, several = (bootstrap_difference(runs, [base]) for runs in (averaged, method))
    assert single is not None and several is not None and single.mean == pytest.approx(several.mean)
    assert single.excludes_zero and not several.excludes_zero and several.p > 0.05


def test_the_same_seed_gives_the_same_interval() -> None:
    runs = scores(2, 30, 1, 0), scores(2, 30, 0, 1)
    assert bootstrap_difference(*runs) == bootstrap_difference(*runs) != bootstrap_difference(*runs, seed=1)


def test_what_cannot_be_drawn_has_no_width() -> None:
    one = bootstrap_difference([{"a": 2.0}], [{"a": 1.0}])
    assert one is not None and (one.mean, one.low, one.high, one.p) == (1, 1, 1, 1)
    equal = bootstrap_difference([{"a": 2.0, "b": 3.0}], [{"a": 1.0, "b": 2.0}])
    assert equal is not None and (equal.low, equal.high) == (1, 1)
    assert bootstrap_difference([{"a": math.inf}], [{"a": 1.0}]) is None


def test_holm_steps_down() -> None:
    values = [0.04, 0.001, 0.03, 0.2]
    ranked, literal, largest = sorted(values), {}, 0.0
    for rank, p in enumerate(ranked):
        largest = max(largest, (4 - rank) * p)
        literal[p] = min(1.0, largest)
    assert holm(values) == pytest.approx([literal[p] for p in values]) and holm([]) == []


def test_pictures_without_a_finite_score_are_left_out() -> None:
    runs = [{"a": 1.0, "b": 4.0, "c": 1.0, "d": None}, {"a": 3.0, "b": 2.0, "c": math.inf}, {"a": 2.0, "b": 3.0}]
    assert shared_pictures(runs) == ["a", "b"] and shared_pictures([]) == []


def test_gains_are_of_one_picture_under_two_methods() -> None:
    method = [{"a": 10.0, "b": 20.0}, {"a": 12.0, "b": 20.0}]
    assert gains_of(method, [{"b": 18.0, "a": 10.0, "c": 5.0}]) == {"a": 1.0, "b": 2.0}


def test_spread_over_seeds() -> None:
    values = [27.1, 27.9, 27.4]
    mean, spread = mean_and_spread(values)
    assert mean == pytest.approx(statistics.mean(values)) and spread == pytest.approx(statistics.stdev(values))
    assert mean_and_spread([3.0]) == (3.0, None) and math.isnan(mean_and_spread([])[0])


GAINS = {"a": 0.1, "b": -0.5, "c": 2.0, "d": 0.3, "e": 1.0}


def test_the_best_the_median_and_the_worst() -> None:
    assert ranked(GAINS, 3) == [("best gain", "c"), ("median gain", "d"), ("worst gain", "b")]
    assert ranked(GAINS, 1) == [("median gain", "d")]
    assert ranked(GAINS, 2) == [("best gain", "c"), ("worst gain", "b")]
    assert [picture for _, picture in ranked(GAINS, 9)] == ["c", "e", "d", "a", "b"]
    assert [what for what, _ in ranked(GAINS, 5)] == [
        "best gain",
        "75 % gain",
        "median gain",
        "25 % gain",
        "worst gain",
    ]


def rows(**means: float) -> dict[str, dict[str, dict[str, dict[str, dict[str, float]]]]]:
    pictures = [str(k) for k in range(8)]
    shifts = {p: (k - 3.5) / 10 for k, p in enumerate(pictures)}
    values = {label: {p: mean + shifts[p] * mean for p in pictures} for label, mean in means.items()}
    return {label: {"0": {"4": {"psnr": value}}} for label, value in values.items()}


def test_differences_are_corrected_for_the_tests_of_one_metric() -> None:
    table = differences(rows(a=1.0, b=1.5, c=3.0), "a")
    assert list(table) == ["b", "c"]
    for label, mean in (("b", 0.5), ("c", 2.0)):
        cell = table[label]["4"]["psnr"]
        assert (
            cell["mean"] == pytest.approx(mean)
            and cell["tests"] == 2
            and cell["p_holm"] == pytest.approx(2 * cell["p"])
        )
        assert cell["seeds"] == [1, 1] and cell["pictures"] == 8

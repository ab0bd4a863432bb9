"""The bootstrap and the spread over seeds, against slow, literal versions."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from implicitkit.comparison.statistics import mean_and_spread, over_seeds, paired_bootstrap
from implicitkit.comparison.summary import differences, equal_and_different, finite, gains_of


def literal_interval(values: list[float], resamples: int, seed: int) -> tuple[float, float]:
    """One resample at a time, and the percentiles by hand: linear between the neighbours in the sorted list."""
    generator = np.random.default_rng(seed)
    means = []
    for _ in range(resamples):
        drawn = [values[int(generator.integers(len(values)))] for _ in values]
        means.append(sum(drawn) / len(drawn))
    means.sort()

    def percentile(share: float) -> float:
        place = share * (len(means) - 1)
        low = math.floor(place)
        high = min(low + 1, len(means) - 1)
        return means[low] + (place - low) * (means[high] - means[low])

    return percentile(0.025), percentile(0.975)


@pytest.mark.parametrize("count", [1, 2, 9, 40])
def test_the_interval_is_that_of_the_literal_version(count: int) -> None:
    values = np.random.default_rng(count).normal(0.3, 1, count).tolist()
    found = paired_bootstrap(values, resamples=4000, seed=5)
    low, high = literal_interval(values, 4000, 6)
    # other draws: the ends of 4000 resamples vary by about 0.03 standard errors of the mean, tested at five times that
    tolerance = 0.15 * (statistics.pstdev(values) / math.sqrt(count)) + 1e-12
    assert found.mean == pytest.approx(sum(values) / count) and found.pictures == count
    assert abs(found.low - low) <= tolerance and abs(found.high - high) <= tolerance


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(0).normal(size=30).tolist()
    assert paired_bootstrap(values) == paired_bootstrap(values) != paired_bootstrap(values, seed=1)


def test_many_pictures_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=50).tolist()
    whole = paired_bootstrap(values, resamples=333)
    monkeypatch.setattr("implicitkit.comparison.statistics.AT_A_TIME", 60)
    assert paired_bootstrap(values, resamples=333) == whole


def test_whether_zero_is_excluded() -> None:
    assert paired_bootstrap([1.0, 1.1, 0.9, 1.2]).excludes_zero
    assert paired_bootstrap([-1.0, -1.1]).excludes_zero
    assert not paired_bootstrap([1.0, -1.1, 0.4]).excludes_zero


@pytest.mark.parametrize("values", [[], [math.inf], [math.nan, 1.0]])
def test_what_cannot_be_resampled_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="a bootstrap takes finite differences"):
        paired_bootstrap(values)


def test_seeds_are_averaged_picture_by_picture() -> None:
    runs = [{"a": 1.0, "b": 4.0, "c": 1.0}, {"a": 3.0, "b": 2.0, "c": math.inf}, {"a": 2.0, "b": 3.0}]
    assert over_seeds(runs) == {"a": 2.0, "b": 3.0}  # c is infinite in one and missing in another


def test_spread_over_seeds() -> None:
    values = [27.1, 27.9, 27.4]
    mean, spread = mean_and_spread(values)
    assert mean == pytest.approx(statistics.mean(values)) and spread == pytest.approx(statistics.stdev(values))
    assert mean_and_spread([3.0]) == (3.0, None) and math.isnan(mean_and_spread([])[0])


def test_gains_are_of_one_picture_under_two_methods() -> None:
    method = [{"x4": {"psnr": {"a": 10.0, "b": 20.0}}}, {"x4": {"psnr": {"a": 12.0, "b": 20.0}}}]
    reference = [{"x4": {"psnr": {"b": 18.0, "a": 10.0, "c": 5.0}}}]
    assert gains_of(method, reference, "x4", "psnr") == {"a": 1.0, "b": 2.0}
    found = differences(method, reference)["x4"]["psnr"]
    assert found["mean"] == 1.5 and 1.0 <= found["low"] <= found["high"] <= 2.0 and found["pictures"] == 2


def test_json_has_no_infinity() -> None:
    assert finite({"a": [1.5, math.inf], "b": {"c": math.nan, "d": 3}}) == {"a": [1.5, None], "b": {"c": None, "d": 3}}


def test_what_is_equal_and_what_is_not(tmp_path) -> None:
    from side_by_side import checked, tiny

    from implicitkit.comparison.plan import make_plan

    plan = make_plan(checked(tiny(tmp_path)))
    equal, different = equal_and_different({label: runs[0] for label, runs in plan.runs.items()})
    assert different == {"optimiser.lr": {"LIIF": 1e-3, "LTE": 2e-3}}
    assert equal["steps"] == 20 and equal["batch"] == 2 and equal["degradation"][0]["ratio"] == [0.1, 0.4]
    assert not any(key.startswith(("model", "output", "seed")) for key in equal)

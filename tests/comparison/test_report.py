"""From scores to the report and its tables."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from implicitkit.comparison.plan import make_plan
from implicitkit.comparison.report import count, differences, differences_table, equal_and_different, finite, interval
from oracles.comparisons import checked, tiny


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


def test_a_gain_stands_beside_what_it_costs() -> None:
    evaluation = {
        "units": {"psnr": "dB"},
        "differences": {"a": differences(rows(a=1.0, b=2.0), "a")},
        "costs": {"a": {"macs": 200, "seconds": 0.5}, "b": {"macs": 500, "seconds": 0.25}},
    }
    lines = differences_table(evaluation, "a", "psnr").splitlines()
    assert lines[0] == "| PSNR, dB, minus a | ×4 | MACs | time |"
    assert lines[2].startswith("| b | **+1.00 [") and lines[2].endswith("| ×2.5 | ×0.5 |")


def test_what_is_bold() -> None:
    cell = {"mean": 0.5, "low": 0.31, "high": 0.74, "p_holm": 0.01}
    assert interval(cell, "dB") == "**+0.50 [+0.31, +0.74]**"
    assert interval({**cell, "p_holm": 0.2}, "dB") == "+0.50 [+0.31, +0.74]" and interval(None, "dB") == "–"
    assert interval({k: v for k, v in cell.items() if k != "p_holm"}, "dB").startswith("**")  # an older report


def test_large_numbers() -> None:
    assert [count(n) for n in (None, 12, 1_234, 5_600_000, 1.7e9)] == ["–", "12", "1.23 k", "5.6 M", "1.7 G"]


def test_json_has_no_infinity() -> None:
    assert finite({"a": [1.5, math.inf], "b": {"c": math.nan, "d": 3}}) == {"a": [1.5, None], "b": {"c": None, "d": 3}}
    assert finite([1.23456, 2], 2) == [1.23, 2]


def test_what_is_equal_and_what_is_not(tmp_path: Path) -> None:
    plan = make_plan(checked(tiny(tmp_path)))
    equal, different = equal_and_different({label: runs[0] for label, runs in plan.runs.items()})
    assert different == {"optimiser.lr": {"LIIF": 1e-3, "LTE": 2e-3}}
    assert equal["steps"] == 20 and equal["batch"] == 2 and equal["degradation"][0]["ratio"] == [0.1, 0.4]
    assert not any(key.startswith(("model", "output", "seed")) for key in equal)

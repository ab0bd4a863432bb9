"""What the benchmark of views asks for is what a page may ask for, and its rows are what it measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import views
from benchmarks.rows import Row
from implicitkit.viewer.question import parse_box
from oracles.models import small_model


def test_a_flight_goes_in_64_times_and_comes_back() -> None:
    boxes = [views.flight(k) for k in range(2 * views.FLIGHT + 1)]
    for box in boxes:
        assert parse_box(",".join(map(str, box)), (600, 900)) == box
    assert boxes[0] == boxes[-1] == (-1, -1, 1, 1)
    assert boxes[views.FLIGHT][2] - boxes[views.FLIGHT][0] == pytest.approx(2 / 64)
    assert Row("a", "b", "/s", 14.9, views.GOAL).cells()[1:4] == ("14.9/s", "≥ 15.0/s", "no")


def test_stages_are_timed_by_clock_and_processor(tmp_path: Path) -> None:
    rows = views.stages(str(small_model().save(tmp_path / "m.safetensors")), (8, 12), 2)
    assert len(rows) == 6 and all(row.value and row.details["wall"] * 1e3 == row.value for row in rows)


@pytest.mark.slow
def test_the_command_is_served_and_measured(tmp_path: Path) -> None:
    weights = small_model(blocks=1).save(tmp_path / "m.safetensors")
    rate, memory = views.served(str(weights), (8, 12), 2 * views.WARM_UP, 1)
    assert rate.value and rate.goal == views.GOAL and "processor" in rate.note
    assert memory.value is not None and abs(memory.value) < 0.5

from __future__ import annotations

import json
from pathlib import Path

import pytest

import implicitkit as ik
from benchmarks.decoders import main, nanoseconds


def test_each_has_a_time_and_the_dear_one_more() -> None:
    times = nanoseconds(["nearest", "liif"], side=12, repeats=3)
    assert 0 < times["nearest"] < times["liif"]


def test_it_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "times.json"
    assert main(["--decoders", "nearest", "thera", "--side", "8", "--repeats", "1", "-o", str(target)]) == 0
    written = json.loads(target.read_text(encoding="utf-8"))
    assert set(written["nanoseconds"]) == {"nearest", "thera"} and written["side"] == 8
    assert written["machine"] in capsys.readouterr().out


def test_the_published_times_are_of_decoders_that_exist() -> None:
    published = json.loads((Path(__file__).parents[2] / "benchmarks" / "decoders.json").read_text(encoding="utf-8"))
    assert set(published["nanoseconds"]) <= set(ik.list_decoders()) and len(published["nanoseconds"]) > 20

"""``implicitkit compare``: how its words reach a comparison, and what it says of one that partly failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from implicitkit.comparison import compare as comparison
from oracles.comparisons import tiny


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the command asked for; the comparison itself is left out, and LTE/seed-1 fails."""
    words: dict[str, Any] = {}

    def compare(config: Any, **how: Any) -> dict[str, Any]:
        words.update(how, config=config)
        how["say"]("a line")
        return {"evaluations": {}, "folder": str(tmp_path), "failed": {"LTE/seed-1": "no memory"}}

    monkeypatch.setattr(comparison, "compare", compare)
    return words


def test_options_reach_the_comparison_and_failures_are_an_error(run, tmp_path: Path, asked: dict[str, Any]) -> None:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(tiny(tmp_path / "out", jobs=1)))
    words = ("--set", "base.steps=7", "--jobs", 2, "--only", "LIIF", "--only", "LTE/seed-1", "-o", tmp_path / "new")
    done = run("compare", tmp_path / "c.yaml", *words, "--device", "cpu")
    assert asked["config"].base["steps"] == 7 and asked["config"].jobs == 2
    assert asked["config"].threads is None  # those of the file were for another number of jobs
    assert (asked["only"], asked["config"].output, asked["device"]) == (["LIIF", "LTE/seed-1"], tmp_path / "new", "cpu")
    assert asked["train"] is True and "--set base.steps=7" in asked["command"]
    assert done.out.splitlines() == [str(tmp_path / "report.md")]
    assert done.code == 2 and done.err.splitlines()[0] == "a line"
    assert "1 of the runs failed (LTE/seed-1: no memory)" in done.errors[0]
    run("compare", tmp_path / "c.yaml", "--report-only")
    assert asked["train"] is False and asked["config"].threads == 1


def test_a_file_that_is_not_there_is_one_line(run, tmp_path: Path) -> None:
    done = run("compare", tmp_path / "none.yaml")
    assert done.code == 2 and len(done.errors) == 1 and "none.yaml" in done.errors[0]

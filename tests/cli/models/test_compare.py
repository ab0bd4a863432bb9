"""``implicitkit compare``: how its words reach a comparison, and what it says of one that partly failed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import implicitkit as ik
from implicitkit.comparison import compare as comparison
from oracles.comparisons import tiny
from oracles.models import small_model


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


@pytest.mark.slow
def test_models_that_are_trained_already_need_no_file(run, folder: Path, tmp_path: Path) -> None:
    """Two runs' weights and a pretrained model's: a report, and how to repeat it."""
    files = []
    for name in ("a", "b"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        files.append(small_model(skip="bilinear").save(tmp_path / "runs" / name / "best.safetensors"))
    words = ("compare", "--models", *files, "liif_small", "--data", folder, "--set", "evaluation.scales=[2]")
    done = run(*words, "--protocol", "plain", "-o", tmp_path / "out")
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    test = report["evaluations"]["plain"]
    assert list(test["scores"]) == ["bicubic", "a", "b", "liif_small"] and list(test["differences"]) == ["a"]
    found = ik.create_protocol({"name": "plain", "scales": [2]}).evaluate({"a": ik.load_model(files[0])}, folder)
    assert test["summary"]["a"]["2"]["psnr"]["mean"] == pytest.approx(found.mean("a", "2", "psnr"), abs=1e-4)
    assert report["unequal"]["encoder.blocks"]["values"] == {"a": 2, "b": 2, "liif_small": 6}
    assert any(line.startswith("not on equal terms") for line in done.err.splitlines())
    page = (tmp_path / "out" / "report.md").read_text()
    assert "## On equal terms?" in page and "| `encoder.blocks` | `2` | `2` | `6` |" in page
    (folder / "z.png").write_bytes(b"no picture")
    again = run("compare", tmp_path / "out" / "report.json", "-o", tmp_path / "again")
    assert again.code == 0, again.err
    repeated = json.loads((tmp_path / "again" / "report.json").read_text())
    assert repeated["evaluations"]["plain"]["scores"] == test["scores"]
    assert any("left out z" in remark for remark in repeated["remarks"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "pass a configuration, or --models A B --data DIR"),
        (["--models", "liif_small"], "--models needs --data DIR"),
        (["c.yaml", "--models", "liif_small", "--data", "d"], "pass a configuration or --models, not both"),
        (["quick_liif_lte", "--data", "d"], "--data and --protocol go with --models"),
        (["--models", "liif_small", "liif_small", "--data", "d"], "liif_small is given twice"),
        (["quick_liif_lt"], "no configuration of that name; did you mean 'quick_liif_lte'?"),
        (["liif_small"], "liif_small is a configuration for `implicitkit train`, not for `implicitkit compare`"),
    ],
)
def test_words_that_do_not_go_together(run, words: list[str], message: str) -> None:
    done = run("compare", *words)
    assert done.code == 2 and len(done.errors) == 1 and message in done.errors[0], done.err


def test_a_comparison_is_found_by_name(run, asked: dict[str, Any], tmp_path: Path) -> None:
    run("compare", "quick_liif_lte", "-o", tmp_path)
    assert asked["config"].title == "LIIF and LTE, a quick run" and asked["source"].endswith("quick_liif_lte.yaml")

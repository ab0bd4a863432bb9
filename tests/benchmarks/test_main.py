"""What the benchmark says is what it measured: rows, equality, counts, processes, the command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

import implicitkit as ik
from benchmarks import child, performance_page, speed, steps
from benchmarks.__main__ import main
from benchmarks.processes import large_rows, linear_row
from benchmarks.report import GROUPS
from benchmarks.rows import Row, markdown, race
from benchmarks.speed import Settings, render_rows
from benchmarks.subjects import decoder_macs, picture, subject, traffic
from oracles import ROOT
from oracles.models import small_model


def test_a_goal_is_met_by_the_value_and_the_right_result() -> None:
    row = Row("a", "what", "x", 4.0, 3.8)
    assert row.met and row.as_dict()["met"] is True
    assert Row("a", "what", "x", 3.7, 3.8).met is False
    assert Row("a", "what", "x", 4.0, 3.8, equal=False).met is False
    assert Row("a", "what", "GB", 2.9, 3.0, at_most=True).met and not Row("a", "what", "GB", 3.1, 3.0, at_most=True).met
    assert Row("a", "what", "x", None, 3.8).met is None and Row("a", "what", "x", 4.0).met is None
    assert row.cells() == ("what", "×4.00", "≥ ×3.80", "yes", "")
    assert Row("a", "b", "s", None, 0.033, at_most=True).cells()[1:4] == ("not measured", "≤ 0.03 s", "")
    assert markdown([row]).splitlines()[2] == "| what | ×4.00 | ≥ ×3.80 | yes |  |"


def test_contestants_take_turns_after_a_warm_up() -> None:
    order: list[str] = []
    seconds = race({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, repeats=3)
    assert order == ["a", "b"] * 4 and set(seconds) == {"a", "b"} and min(seconds.values()) >= 0


def test_a_wrong_picture_is_never_a_met_goal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    weights = small_model(skip="bilinear").save(tmp_path / "m.safetensors")
    settings = Settings((str(weights),), (12,), repeats=1)
    right, *others = render_rows(settings)
    assert all(row.equal for row in others)
    assert right.equal and right.unit == "x" and "differs by" in right.note
    monkeypatch.setattr(speed.Baseline, "render", lambda self, image, size: torch.zeros(1, 3, *size))
    wrong, *_ = render_rows(settings)
    assert not wrong.equal


def test_multiplications_of_liif_are_those_of_its_four_evaluations() -> None:
    model = ik.create_model("liif_edsr_baseline").eval()
    inherent = 4 * (4 * 256 + 3 * 256 * 256 + 256 * 3)
    assert decoder_macs(model.encode(picture(8))) == inherent


def test_traffic_is_counted_for_both_ways() -> None:
    liif = ik.create_model("liif_edsr_baseline")
    assert traffic(liif, baseline=False) == 4 * 256 * 4 + 12
    assert traffic(liif, baseline=False, precision="bfloat16") == 4 * 256 * 2 + 12
    made = 576 + 576 + 580 + 2 * 4 * 256 + 3  # fetched, concatenated; each layer with its ReLU; the result
    assert traffic(liif, baseline=True) == 4 * 2 * 4 * made + 12


def test_random_weights_speak_as_loud_as_a_photograph() -> None:
    for name in ("liif_edsr_baseline", "lte_edsr_baseline"):
        values = subject(name).encode(picture(48)).render((96, 96), clamp=False)
        assert 0.2 < float(values.std()) < 0.5
    assert torch.equal(subject("liif_small").decoder.first.weight, ik.load_model("liif_small").decoder.first.weight)


def test_a_training_step_is_compared_by_its_gradients(tmp_path: Path) -> None:
    weights = small_model().save(tmp_path / "m.safetensors")
    settings = Settings((str(weights),), repeats=1)
    exact, rough = steps.step_rows(settings, batch=2, patch=9, points=40)
    assert exact.equal and exact.goal is None and "gradients differ by" in exact.note
    assert rough.name.endswith("bfloat16")
    ours, theirs = {"a": torch.tensor([3.0, 4.0])}, {"a": torch.tensor([3.0, 0.0])}
    assert steps.distance(ours, theirs) == pytest.approx(4 / 3)


def test_a_process_is_charged_with_its_own_memory() -> None:
    held = bytearray(300 << 20)  # what the parent holds is not the child's
    idle = child.run([sys.executable, "-c", "pass"])
    busy = child.run([sys.executable, "-c", "x = b'1' * (200 << 20); print(len(x))"])
    del held
    assert idle.peak < 150 << 20 and busy.peak - idle.peak > 190 << 20
    assert busy.output.strip() == str(200 << 20) and busy.seconds > 0
    with pytest.raises(ik.UserError, match="failed: ValueError: no"):
        child.run([sys.executable, "-c", "raise ValueError('no')"])
    with pytest.raises(ik.UserError, match="could not be run: FileNotFoundError"):
        child.run(["no-such-command"])


@pytest.mark.slow
def test_large_pictures_are_measured_from_the_command_line() -> None:
    small, larger, spread = large_rows(Settings(), sides=(12, 16))  # too small for the time to say anything
    assert 0.05 < small.value < 3 and "12²→48²" in small.what and small.goal is None
    assert larger.details["seconds"] > 0 and spread.value >= 1 and spread.goal == 1.15


def test_time_is_linear_if_each_added_pixel_costs_the_same() -> None:
    start, pixel = 3.0, 400e-9
    even = linear_row({side: start + pixel * (4 * side) ** 2 for side in (1024, 2048, 4096)})
    assert even.value == pytest.approx(1) and even.met and "400 and 400 ns" in even.note and "579" in even.note
    steep = linear_row({side: pixel * (4 * side) ** 2.4 for side in (1024, 2048, 4096)})
    assert steep.value > 1.3 and not steep.met
    assert not linear_row({1024: 9.0, 2048: 8.0, 4096: 30.0}).met


@pytest.mark.slow
def test_the_command_prints_a_table_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = small_model(skip="bilinear").save(tmp_path / "m.safetensors")
    target = tmp_path / "bench.json"
    flags = ["--model", str(weights), "--sizes", "12", "--repeats", "1", "--rows", "render,rate shape gpu"]
    main([*flags, "-o", str(target)])
    printed = capsys.readouterr().out
    assert "m.safetensors, 12²→48², float32, over the baseline" in printed and "not measured" in printed
    report = json.loads(target.read_text())
    names = [row["name"] for row in report["rows"]]
    assert names[:2] == [f"render/m.safetensors/12/{p}" for p in ("float32", "bfloat16")] and "frame" in names
    assert {"rate/m.safetensors/baseline", "shape/m.safetensors/box"} < set(names)
    assert report["machine"] and report["bytes_per_s"] > 0
    assert report["rows"][0]["details"].keys() == {"float32", "baseline"}
    with pytest.raises(SystemExit, match="2"):
        main([*flags, "-o", str(target)])
    assert "exists; pass --force" in capsys.readouterr().err


def test_the_rows_of_the_page_are_those_that_are_measured() -> None:
    """The published run, made with an earlier version, still becomes the page."""
    reports = [performance_page.load(path) for path in performance_page.published()]
    assert performance_page.page(reports) == (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    prefixes = {name.partition("/")[0] for report in reports for name in performance_page.named(report)}
    assert prefixes <= {*GROUPS, "frame"}


def test_a_model_without_a_baseline_is_timed_alone(tmp_path: Path) -> None:
    decoder = {"name": "metasr", "hidden": [8]}
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 8}, "decoder": decoder})
    rows = render_rows(Settings((str(model.save(tmp_path / "m.safetensors")),), (12,), repeats=1))
    assert [row.unit for row in rows] == ["s", "s"] and "dB from float32" in rows[1].note


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--sizes", "12x"], "sides in pixels, from 8 to 4096"),
        (["--sizes", ""], "sides in pixels"),
        (["--scale", "0"], "--scale is a whole number from 1 to 64"),
        (["--repeats", "0"], "--repeats is at least 1"),
        (["--threads", "0"], "--threads is at least 1"),
        (["--rows", "rendr"], "unknown rows 'rendr'"),
        (["--model", "liif_smal"], "did you mean"),
    ],
)
def test_mistakes_are_one_line(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(flags)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line

"""A whole comparison: processes, scores, report; killed and gone on with; repeated from its report."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file

import implicitkit as ik
from implicitkit.comparison.compare import _cores, compare
from implicitkit.comparison.report import markdown
from implicitkit.errors import WeightsError
from implicitkit.evaluation.inpainting import SOLVERS
from implicitkit.evaluation.statistics import bootstrap_difference
from oracles.comparisons import checked, tiny

ENVIRONMENT = {**os.environ, "IMPLICITKIT_PLUGINS": "none", "OMP_NUM_THREADS": "1"}

pytestmark = pytest.mark.slow  # four trainings and their scores in processes, once for all of them


def call(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "implicitkit", "compare", str(file), *options]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods and two seeds, trained by the command, two at a time; the folder that holds config and output."""
    place = tmp_path_factory.mktemp("compare")
    (place / "c.yaml").write_text(yaml.safe_dump(tiny(place / "out", jobs=2)))
    done = call(place / "c.yaml")
    assert done.returncode == 0, done.stderr
    assert "| LIIF |" in done.stdout and done.stdout.rstrip().endswith(str(place / "out" / "report.md"))
    return place


@pytest.fixture(scope="module")
def report(whole: Path) -> dict[str, Any]:
    return json.loads((whole / "out" / "report.json").read_text())


@pytest.fixture
def copied(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The finished comparison in a folder of its own; its configuration."""
    shutil.copytree(whole / "out", tmp_path / "out")
    for file in (tmp_path / "out").rglob("*"):
        if file.name in ("config.yaml", "prepare.json"):
            file.write_text(file.read_text().replace(str(whole), str(tmp_path)))
    return tiny(tmp_path / "out")


def test_the_report_holds_every_score_and_says_what_was_run(whole: Path, report: dict[str, Any]) -> None:
    evaluation = report["evaluations"]["inpainting"]
    assert list(evaluation["scores"]) == [*SOLVERS, "LIIF", "LTE"]
    assert list(evaluation["scores"]["LTE"]) == ["0", "1"]
    pictures = {p.stem for p in (whole / "out" / "pictures" / "test").iterdir()}
    assert set(evaluation["scores"]["LTE"]["1"]["20-40"]["psnr_hole"]) == pictures and len(pictures) > 2
    assert evaluation["tables"] == {
        "whole picture": ["psnr", "ssim", "l1"],
        "hole alone": ["psnr_hole", "ssim_hole", "l1_hole"],
    }
    run = report["methods"]["LTE"]["runs"][1]
    assert run["seed"] == 1 and run["threads"] == 1 and run["steps"] == 20 and run["curve"]["steps"] == [5, 10, 15, 20]
    assert run["config"] == yaml.safe_load((whole / "out" / "runs" / "LTE" / "seed-1" / "config.yaml").read_text())
    assert report["config"]["threads"] == 1 and report["config"]["jobs"] == 2 and report["missing"] == {}
    assert report["implicitkit"] == ik.__version__ and "torch" in report["machine"]
    assert f"compare {whole / 'c.yaml'}" in report["command"]
    assert report["environment"] == {"IMPLICITKIT_PLUGINS": "none"}
    cost = evaluation["costs"]["LIIF"]
    model = ik.load_model(whole / "out" / "runs" / "LIIF" / "seed-0" / "best.safetensors")
    assert cost["total"] == cost["trainable"] == sum(p.numel() for p in model.parameters())
    assert cost["input"] == cost["output"] == [32, 32] and cost["seconds"] > 0
    pixels = 32 * 32
    assert cost["macs"] > pixels * (9 * 4 * 4 + 9 * 3 * 4)


def test_its_numbers_are_those_of_the_protocol(whole: Path, report: dict[str, Any]) -> None:
    file = whole / "out" / "runs" / "LTE" / "seed-0" / "best.safetensors"
    protocol = ik.create_protocol({"name": "inpainting", "bins": [[20, 40]], "size": 32})
    scores = protocol.evaluate({"it": ik.load_model(file)}, whole / "out" / "pictures" / "test")
    evaluation = report["evaluations"]["inpainting"]
    for metric, pictures in scores.values["it"]["20-40"].items():
        assert evaluation["scores"]["LTE"]["0"]["20-40"][metric] == pytest.approx(pictures, abs=2e-5)
    for metric, pictures in scores.values["mean colour"]["20-40"].items():
        assert evaluation["scores"]["mean colour"]["given"]["20-40"][metric] == pytest.approx(pictures, abs=2e-5)


def test_means_spreads_and_intervals_follow_from_the_scores(report: dict[str, Any]) -> None:
    evaluation = report["evaluations"]["inpainting"]
    scores = {
        label: [settings["20-40"]["psnr"] for settings in seeds.values()]
        for label, seeds in evaluation["scores"].items()
    }
    means = [sum(run.values()) / len(run) for run in scores["LTE"]]
    found = evaluation["summary"]["LTE"]["20-40"]["psnr"]
    assert found["seeds"] == pytest.approx(means, abs=1e-5) and found["mean"] == pytest.approx(sum(means) / 2, abs=1e-5)
    assert found["spread"] == pytest.approx(abs(means[0] - means[1]) / 2**0.5, abs=1e-5)
    expected = bootstrap_difference(scores["LTE"], scores["LIIF"])
    difference = evaluation["differences"]["LIIF"]["LTE"]["20-40"]["psnr"]
    for key in ("mean", "low", "high"):
        # the report's scores are rounded, which moves ties among the resampled means of a few pictures
        assert difference[key] == pytest.approx(getattr(expected, key), abs=1e-4 if key == "mean" else 0.02)
    assert difference["seeds"] == [2, 2] and difference["tests"] == len(SOLVERS) + 1
    assert set(evaluation["differences"]["LIIF"]) == {*SOLVERS, "LTE"}


def test_the_page_shows_it_all(whole: Path, report: dict[str, Any]) -> None:
    page = (whole / "out" / "report.md").read_text()
    assert page == markdown(report)
    for image in ("curves.png", "grid.png"):
        assert f"]({image})" in page and ik.read_image(whole / "out" / image).std() > 0.05
    found = report["evaluations"]["inpainting"]["summary"]["LTE"]["20-40"]["psnr"]
    assert f"| LTE | {found['mean']:.2f} ± {found['spread']:.2f} |" in page
    assert "| `optimiser.lr` | `0.001` | `0.002` |" in page and "`steps: 20`" in page
    assert "PSNR of the hole, dB | 20–40 % |" in page
    rows = report["evaluations"]["inpainting"]["grid"]["rows"]
    assert rows == ["best gain", "median gain", "worst gain"] and "best gain, median gain, worst gain" in page
    assert "highlight" not in page and "None" not in page
    repeat = f"IMPLICITKIT_PLUGINS=none implicitkit compare {whole / 'out' / 'report.json'} -o NEW"
    assert f"\n{repeat}\n{repeat} --only LIIF/seed-0\n" in page
    fewer = copy.deepcopy(report)
    del fewer["evaluations"]["inpainting"]["scores"]["LTE"]["1"]
    assert "over seeds (LIIF: 2, LTE: 1)." in markdown(fewer) and "over seeds." in page


def test_the_same_command_again_computes_nothing(copied: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("implicitkit.comparison.scores.Scorer._score", lambda *_: pytest.fail("scored again"))
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a process was started"))
    (copied_report := Path(copied["output"]) / "report.json").unlink()
    said: list[str] = []
    report = compare(checked(copied), say=said.append)
    (terms,) = said  # what differs is said each time; nothing else
    assert terms.startswith("not on equal terms") and report["failed"] == {} and copied_report.is_file()


def test_scores_are_made_again_for_other_weights_and_another_test(copied: dict[str, Any]) -> None:
    output = Path(copied["output"])
    before = json.loads((output / "report.json").read_text())["evaluations"]["inpainting"]["scores"]
    other = output / "runs" / "LIIF"
    shutil.copy(other / "seed-1" / "best.safetensors", other / "seed-0" / "best.safetensors")
    after = compare(checked(copied))["evaluations"]["inpainting"]["scores"]
    assert after["LIIF"]["0"] == after["LIIF"]["1"] == before["LIIF"]["1"] != before["LIIF"]["0"]
    assert after["LTE"] == before["LTE"]
    copied["evaluation"]["seed"] = 5
    assert compare(checked(copied))["evaluations"]["inpainting"]["scores"]["LTE"] != before["LTE"]


def test_a_changed_configuration_is_one_line(copied: dict[str, Any], tmp_path: Path, run) -> None:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(copied))
    outcome = run("compare", tmp_path / "c.yaml", "--set", "base.steps=21")
    assert outcome.code == 2 and len(outcome.err.splitlines()) == 1
    assert "LIIF/seed-0" in outcome.err and "steps was 20 and is 21" in outcome.err


def test_only_one_run_is_repeated_from_the_report_and_has_the_same_scores(
    whole: Path, report: dict[str, Any], tmp_path: Path
) -> None:
    done = call(whole / "out" / "report.json", "-o", str(tmp_path / "again"), "--only", "LTE/seed-1")
    assert done.returncode == 0, done.stderr
    again = json.loads((tmp_path / "again" / "report.json").read_text())
    assert list(again["methods"]) == ["LTE"] and len(again["methods"]["LTE"]["runs"]) == 1
    assert set(again["missing"]) == {"LIIF/seed-0", "LIIF/seed-1", "LTE/seed-0"}
    before, after = (r["evaluations"]["inpainting"]["scores"] for r in (report, again))
    assert after["LTE"] == {"1": before["LTE"]["1"]} and after["mean colour"] == before["mean colour"]
    assert again["evaluations"]["inpainting"]["differences"] == {}  # of a reference that is not there


def test_killed_and_gone_on_with_it_gives_the_same_weights(whole: Path, tmp_path: Path) -> None:
    """The comparison is told to end, and takes its run with it; then the run itself is killed; then it is let go on."""
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(tiny(tmp_path / "out")))
    arguments = [sys.executable, "-m", "implicitkit", "compare", str(tmp_path / "c.yaml"), "--only", "LIIF/seed-0"]
    run = tmp_path / "out" / "runs" / "LIIF" / "seed-0"
    for signalled, code in ((signal.SIGTERM, 130), (signal.SIGKILL, 2)):
        started = {p.name for p in (run / "checkpoints").glob("step-*")}
        process = subprocess.Popen(arguments, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
        children: list[psutil.Process] = []
        deadline = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < deadline:
            new = {p.name for p in (run / "checkpoints").glob("step-*")} - started
            if new:
                children = [p for p in psutil.Process(process.pid).children() if "train" in p.cmdline()]
                os.kill(process.pid if signalled == signal.SIGTERM else children[0].pid, signalled)
                break
            time.sleep(0.002)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == code, errors
        assert all(not child.is_running() for child in children) and not (run / "last.safetensors").exists()
        if code == 2:
            assert "1 of the runs failed (LIIF/seed-0: killed by signal 9)" in errors or "nothing to report" in errors
    assert call(tmp_path / "c.yaml", "--only", "LIIF/seed-0").returncode == 0
    resumed, direct = (load_file(f / "last.safetensors") for f in (run, whole / "out" / "runs" / "LIIF" / "seed-0"))
    assert resumed.keys() == direct.keys() and all(torch.equal(resumed[k], direct[k]) for k in direct)


def test_two_commands_at_once_share_the_work(whole: Path, report: dict[str, Any], tmp_path: Path) -> None:
    """docs/compare.md: both train what the other does not, and both report all of it."""
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(tiny(tmp_path / "out", jobs=1)))
    words = [sys.executable, "-m", "implicitkit", "compare", str(tmp_path / "c.yaml"), "--only", "LIIF"]
    both = [
        subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    for seed in (0, 1):
        run = tmp_path / "out" / "runs" / "LIIF" / f"seed-{seed}"
        events = [json.loads(line)["event"] for line in (run / "log.jsonl").read_text().splitlines()]
        assert events.count("start") == 1 and not list(run.rglob("*.part*"))
        alone = load_file(whole / "out" / "runs" / "LIIF" / f"seed-{seed}" / "last.safetensors")
        shared = load_file(run / "last.safetensors")
        assert all(torch.equal(shared[key], alone[key]) for key in alone)
    scores = json.loads((tmp_path / "out" / "report.json").read_text())["evaluations"]["inpainting"]["scores"]
    assert scores["LIIF"] == report["evaluations"]["inpainting"]["scores"]["LIIF"]


def test_what_failed_is_said_and_the_rest_reported(copied: dict[str, Any], tmp_path: Path) -> None:
    copied["methods"]["broken"] = {**copied["methods"]["LIIF"], "weights": "nowhere.safetensors", "seeds": [7]}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(copied))
    done = call(tmp_path / "c.yaml")
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "1 of the runs failed (broken/seed-7: " in line and "weights: there is no file nowhere.safetensors)" in line
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert list(report["methods"]) == ["LIIF", "LTE"]
    (missing,) = report["missing"].items()
    assert missing[0] == "broken/seed-7" and missing[1].startswith("failed: ")
    assert missing[1].endswith("weights: there is no file nowhere.safetensors")
    assert "broken/seed-7: failed" in (tmp_path / "out" / "report.md").read_text()


def test_weights_from_elsewhere_are_scored_beside(copied: dict[str, Any], tmp_path: Path) -> None:
    shutil.copy(Path(copied["output"]) / "runs" / "LTE" / "seed-0" / "best.safetensors", tmp_path / "mine.safetensors")
    copied["methods"]["mine"] = {"weights_only": str(tmp_path / "mine.safetensors")}
    copied["reference"] = ["mine"]
    report = compare(checked(copied), train=False)
    scores = report["evaluations"]["inpainting"]["scores"]
    assert scores["mine"]["given"] == scores["LTE"]["0"]
    assert report["methods"]["mine"] == {"weights": str(tmp_path / "mine.safetensors")}
    assert "| mine |" in markdown(report)


def test_the_weights_of_a_run_are_scored_again_with_other_passes(copied: dict[str, Any]) -> None:
    copied["methods"]["again"] = {"weights_only": "LTE/seed-1"}
    copied["methods"]["twice"] = {"weights_only": "LTE/seed-1", "passes": 2}
    report = compare(checked(copied), train=False)
    test = report["evaluations"]["inpainting"]
    run = Path(copied["output"]) / "runs" / "LTE" / "seed-1"
    assert test["scores"]["again"]["given"] == test["scores"]["LTE"]["1"]
    expected = ik.create_protocol(test["spec"]).evaluate(
        {"twice": ik.load_model(run / "best.safetensors")}, Path(test["data"]), encode={"passes": 2}
    )
    found = test["scores"]["twice"]["given"]["20-40"]["psnr_hole"]
    assert found == pytest.approx(expected.values["twice"]["20-40"]["psnr_hole"], abs=1e-4)
    assert found != test["scores"]["again"]["given"]["20-40"]["psnr_hole"]
    assert report["methods"]["twice"] == {"weights": str(run / "best.safetensors"), "passes": 2}
    kept = Path(copied["output"]) / "runs" / "twice" / "scores-inpainting.json"
    before = kept.stat().st_mtime_ns
    compare(checked(copied), train=False)
    assert kept.stat().st_mtime_ns == before
    (run / "last.safetensors").unlink()  # as if it were being trained
    report = compare(checked(copied), train=False)
    assert list(report["methods"]) == ["LIIF", "LTE"]
    assert report["missing"]["twice"] == "takes the weights of LTE/seed-1, which is not trained yet"


def test_a_metric_without_weights_is_left_out_and_said(copied: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(net: str) -> None:
        raise WeightsError("lpips with vgg needs vgg16.pth, which cannot be downloaded")

    monkeypatch.setattr("implicitkit.metrics.lpips._published", missing)
    copied["evaluation"]["metrics"] = ["psnr", "lpips"]
    report = compare(checked(copied), train=False)
    assert report["evaluations"]["inpainting"]["tables"]["whole picture"] == ["psnr"]
    assert report["remarks"] == [
        "inpainting: left out lpips: lpips with vgg needs vgg16.pth, which cannot be downloaded"
    ]
    assert report["remarks"][0] in markdown(report)
    copied["evaluation"]["metrics"] = ["lpips"]
    with pytest.raises(ik.UserError, match="none of its metrics can be had"):
        compare(checked(copied), train=False)


def test_several_evaluations_have_a_table_and_a_grid_each(copied: dict[str, Any]) -> None:
    test = copied["evaluation"]
    noise = {"protocol": "restoration", "data": test["data"], "settings": {"little": {"name": "noise", "sigma": 5}}}
    copied["evaluation"] = {"holes": test, "noise": {**noise, "size": 32, "metrics": None}}
    copied["pictures"] = {"rows": 1, "highlight": "LIIF"}
    report = compare(checked(copied), train=False)
    assert report["evaluations"]["holes"]["grid"]["file"] == "grid-holes.png"
    assert report["evaluations"]["holes"]["grid"]["reference"] == "mean colour"  # LIIF itself is the reference
    assert report["evaluations"]["noise"]["grid"]["metric"] == "psnr"  # the protocol's own metrics
    assert list(report["evaluations"]["noise"]["summary"]) == ["degraded input", "LIIF", "LTE"]
    assert "## Scores: holes" in markdown(report) and "## Scores: noise" in markdown(report)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pictures": {"setting": "0-20"}}, r"pictures.setting: there is no '0-20'; there are: 20-40"),
        ({"evaluation": {"protocol": "inpaintin", "data": "x"}}, r"evaluation.inpaintin: .*inpainting"),
        ({"evaluation": {"protocol": "inpainting", "data": "nowhere"}}, r"no folder nowhere"),
        ({"evaluation": {"protocol": "inpainting", "data": "x", "sise": 3}}, r"evaluation.inpainting: .*size"),
    ],
)
def test_mistakes_are_found_before_training(copied: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(ik.UserError, match=message):
        compare(checked({**copied, **change}), train=False)


def test_nothing_to_report_is_said(tmp_path: Path) -> None:
    settings = tiny(tmp_path / "out", prepare=[])
    settings["evaluation"]["data"] = str(Path(ik.__file__).parent / "assets")
    with pytest.raises(ik.UserError, match="nothing to report: no run in .* is finished"):
        compare(checked(settings), train=False)


@pytest.mark.parametrize(("given", "threads"), [("3", 3), ("4,2", 4), (" 2 ", 2)])
def test_runs_share_as_many_threads_as_openmp_is_given(
    monkeypatch: pytest.MonkeyPatch, given: str, threads: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert _cores() == threads


@pytest.mark.parametrize("given", ["", "0", "-1", "many"])
def test_without_a_number_runs_share_the_cores(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert _cores() == 6

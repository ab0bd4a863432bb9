"""A run directory: what it holds, and what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import implicitkit as ik
from implicitkit.files import LOCK
from oracles.runs import run, settings


def test_a_run_leaves_what_it_promises(tmp_path: Path) -> None:
    folder = run(settings(tmp_path / "run", steps=24, validation={"every": 12, "scales": [2, 3], "max_size": 48}))
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    steps = [e["step"] for e in log if e["event"] == "train"]
    assert steps == list(range(4, 25, 4))
    assert all({"loss", "lr", "crops_per_s", "seconds_left"} <= e.keys() for e in log if e["event"] == "train")
    validations = [e for e in log if e["event"] == "validation"]
    assert [e["step"] for e in validations] == [12, 24] and {"psnr_x2", "psnr_x3"} <= validations[0].keys()
    assert sorted(p.name for p in (folder / "images").iterdir()) == ["step-12.png", "step-24.png"]
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == ["step-20", "step-24"]
    assert list(folder.glob("events.out.tfevents*"))
    assert yaml.safe_load((folder / "config.yaml").read_text())["batch"] == 4
    best = ik.load_model(folder / "best.safetensors")
    assert best.training_summary["validation_psnr_y"].keys() == {"x2", "x3"}
    assert ik.load_model(folder / "last.safetensors").training_summary["steps"] == 24


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    folder = run(settings(tmp_path / "run", steps=4))
    before = (folder / "last.safetensors").read_bytes()
    with pytest.raises(ik.UserError, match="already holds a run"):
        run(settings(tmp_path / "run", steps=4))
    with pytest.raises(ik.UserError, match="another batch and seed"):
        run(settings(tmp_path / "run", steps=4, seed=5, batch=2), resume=True)
    with pytest.raises(ik.UserError, match="no run to resume"):
        run(settings(tmp_path / "other"), resume=True)
    assert (folder / "last.safetensors").read_bytes() == before


def test_a_longer_run_may_continue(tmp_path: Path) -> None:
    run(settings(tmp_path / "run", steps=4))
    folder = run(settings(tmp_path / "run", steps=8), resume=True)
    assert ik.load_model(folder / "last.safetensors").training_summary["steps"] == 8


def test_a_run_killed_before_its_first_file_begins_again(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".deadbeef.part.yaml").write_text("half")
    folder = run(settings(tmp_path / "run", steps=2))
    assert not list(folder.glob(".*.part*"))


def test_damaged_checkpoints_say_what_to_do(tmp_path: Path) -> None:
    folder = run(settings(tmp_path / "run", steps=8))
    (folder / "checkpoints" / "step-old").mkdir()
    (folder / "checkpoints" / "step-8" / "optimizer.bin").write_bytes(b"damaged")
    with pytest.raises(ik.UserError, match=r"step-8 cannot be read .*delete it to go on from the one before"):
        run(settings(tmp_path / "run", steps=8), resume=True)
    shutil.rmtree(folder / "checkpoints" / "step-8")
    run(settings(tmp_path / "run", steps=8), resume=True)


def test_a_folder_has_one_run_at_a_time(tmp_path: Path) -> None:
    """Another process is refused in a line; a lock that a dead process left is none."""
    folder = run(settings(tmp_path / "run", steps=4))
    (folder / LOCK).write_text("of a process that was killed")
    code = "import sys, time; from filelock import FileLock; l = FileLock(sys.argv[1]); l.acquire(); print(); time.sleep(99)"
    with subprocess.Popen([sys.executable, "-c", code, str(folder / LOCK)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline()
        with pytest.raises(ik.UserError, match="another process trains in .*choose another output"):
            run(settings(folder, steps=8), resume=True)
        other.kill()
    assert run(settings(folder, steps=8), resume=True) == folder


def test_the_slower_of_two_that_begin_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both found the folder free; the other has begun, and perhaps ended, when this one would write."""

    def meanwhile(*_: object) -> None:
        (tmp_path / "run" / "checkpoints" / "step-1").mkdir(parents=True)
        (tmp_path / "run" / "config.yaml").write_text("theirs: 1\n")

    monkeypatch.setattr("implicitkit.training.assembly.rehearse", meanwhile)
    with pytest.raises(ik.UserError, match="already holds a run"):
        run(settings(tmp_path / "run", steps=4))
    assert (tmp_path / "run" / "config.yaml").read_text() == "theirs: 1\n"


def test_a_run_that_fails_at_its_first_step_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr("implicitkit.training.loop.parts_of", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            run(settings(tmp_path / "run", steps=4))
    assert not (tmp_path / "run").exists()
    run(settings(tmp_path / "run", steps=4, batch=2))


def test_a_run_killed_before_its_first_checkpoint_is_resumed_or_begun_anew(tmp_path: Path) -> None:
    folder = run(settings(tmp_path / "run", steps=4))
    for file in folder.glob("*.safetensors"):
        file.unlink()
    shutil.rmtree(folder / "checkpoints")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ik.UserError, match="another batch; resume it so, or start it anew without --resume"):
        run(settings(folder, steps=4, batch=2), resume=True)
    run(settings(folder, steps=4, batch=2))
    starts = [line for line in (folder / "log.jsonl").read_text().splitlines() if '"start"' in line]
    assert len(starts) == 1 and (folder / "notes.txt").read_text() == "mine"
    with pytest.raises(ik.UserError, match="already holds a run"):
        run(settings(folder, steps=4))


def test_a_folder_of_something_else_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(ik.UserError, match="run holds files that are no run's; choose another output"):
        run(settings(tmp_path / "run", steps=4))

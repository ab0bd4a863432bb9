"""What is run: training runs and preparations; what fails, what waits, what is left alone."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import implicitkit as ik
from implicitkit.comparison.plan import PlannedRun, make_plan
from implicitkit.comparison.run import Job, Runner, read_notes, threads_of
from implicitkit.config.comparison import Preparation
from implicitkit.training.resume import begin_run
from oracles import PHOTOS
from oracles.comparisons import checked, tiny


@pytest.fixture
def runs(tmp_path: Path) -> list[PlannedRun]:
    settings = tiny(tmp_path)
    settings["methods"]["LTE"] |= {"first": {"model": settings["methods"]["LTE"]["model"]}, "seeds": [0]}
    found = make_plan(checked(settings)).ordered(["LIIF/seed-0", "LTE/seed-0"])
    for run in found:
        begin_run(run.config)
    return found


def calling(
    monkeypatch: pytest.MonkeyPatch, *command: str, jobs: int = 1, threads: int = 1, say: Any = print
) -> Runner:
    """A runner that calls another command in place of ``train``."""
    start = Runner._start
    monkeypatch.setattr(Runner, "_start", lambda self, arguments, *rest: start(self, command, *rest))
    return Runner(jobs, threads, say)


@pytest.mark.slow
def test_a_failure_is_explained_and_takes_what_starts_from_it(
    runs: list[PlannedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    liif, first, lte = runs
    said: list[str] = []
    failed = calling(monkeypatch, "list", "nothing", jobs=2, threads=3, say=said.append).train(runs)
    assert failed.keys() == {liif.name, first.name, lte.name}
    assert "nothing" in failed[liif.name] and failed[lte.name] == f"{first.name}, which it starts from, failed"
    assert f"{liif.name}: begun" in said and not any(line.startswith(lte.name) for line in said)
    assert threads_of(liif) == 3 and threads_of(lte) is None


@pytest.mark.slow
def test_a_process_that_ends_well_without_having_trained_has_failed(
    runs: list[PlannedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = calling(monkeypatch, "list", "losses").train(runs[:1])
    assert failed == {runs[0].name: f"it has not made {runs[0].folder / 'last.safetensors'}"}


def test_what_is_trained_is_left_alone(runs: list[PlannedRun], monkeypatch: pytest.MonkeyPatch) -> None:
    (runs[0].folder / "last.safetensors").write_bytes(b"")
    said: list[str] = []
    assert calling(monkeypatch, "list", "nothing", say=said.append).train(runs[:1]) == {}
    assert said == [] and not (runs[0].folder / "train.txt").exists()


@pytest.mark.slow
def test_a_run_that_another_process_trains_is_left_to_it(
    runs: list[PlannedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run is tried; meanwhile the locked one is finished."""
    (liif, first, _), said = runs, []
    start = Runner._start

    def end_the_other(self: Runner, *arguments: Any) -> Job:
        lock.release()
        (liif.folder / "last.safetensors").write_bytes(b"")
        return start(self, *arguments)

    monkeypatch.setattr(Runner, "_start", end_the_other)
    runner = calling(monkeypatch, "list", "nothing", say=said.append)
    with FileLock(liif.folder / ".lock", thread_local=False) as lock:
        failed = runner.train([liif, first])
    assert failed.keys() == {first.name}
    assert said[:2] == [f"{liif.name}: another process is training it", f"{first.name}: begun"] and len(said) == 3


@pytest.mark.slow
def test_what_another_process_has_made_meanwhile_is_not_made_again(tmp_path: Path) -> None:
    """The lock is taken by the process itself, which then looks once more."""
    target, lock = tmp_path / "made", tmp_path / "lock"
    with FileLock(lock):
        job = Runner(1, 1, print)._start(["list", "nothing"], target, lock, tmp_path / "log.txt", 1)
        time.sleep(1)
        assert job.process.poll() is None
        target.write_text("")
    assert job.failure == "" and (tmp_path / "log.txt").read_text() == ""


@pytest.mark.slow
def test_a_run_keeps_the_threads_it_was_begun_with(runs: list[PlannedRun], monkeypatch: pytest.MonkeyPatch) -> None:
    run = runs[0]
    (run.folder / "threads.txt").write_text("5\n")
    (run.folder / "checkpoints" / "step-5").mkdir(parents=True)
    calling(monkeypatch, "list", "nothing").train([run])
    assert threads_of(run) == 5


# ---------------------------------------------------------------------------- preparation


@pytest.mark.parametrize(
    ("status", "text", "reason"),
    [
        (
            2,
            "error: the first time\nbegun\nerror: the loss is nan near step 3\nwarning: late\n",
            "the loss is nan near step 3",
        ),
        (-9, "", "killed by signal 9"),
        (1, "Traceback\nMemoryError\n\n", "MemoryError"),
        (3, "", "exit status 3"),
    ],
)
def test_why_a_process_ended(tmp_path: Path, status: int, text: str, reason: str) -> None:
    (tmp_path / "log.txt").write_text(text)
    kill = "import os; os.kill(os.getpid(), 9)"
    process = subprocess.Popen([sys.executable, "-c", kill if status < 0 else f"raise SystemExit({status})"])
    assert Job(process, tmp_path / "target", tmp_path / "log.txt").failure == reason


def made_by(output: Path, *command: str, **more: str) -> list[Preparation]:
    return [Preparation(makes=str(output / "seen.png"), command=[*command], **more)]


@pytest.mark.slow
def test_a_command_is_run_once_and_its_making_noted(tmp_path: Path) -> None:
    command = ["degrade", str(PHOTOS / "chelsea.png"), "-o", str(tmp_path / "seen.png"), "--spec", "jpeg"]
    said: list[str] = []
    runner = Runner(1, 1, said.append)
    runner.prepare(made_by(tmp_path, *command), tmp_path)
    notes = read_notes(tmp_path)
    assert said == [f"making {tmp_path / 'seen.png'}"] and (tmp_path / "seen.png").is_file()
    note = notes[str(tmp_path / "seen.png")]
    assert note["how"] == command and note["threads"] == 1 and note["seconds"] > 0
    before = (tmp_path / "seen.png").stat().st_mtime_ns
    runner.prepare(made_by(tmp_path, *command), tmp_path)
    assert read_notes(tmp_path) == notes
    assert len(said) == 1 and (tmp_path / "seen.png").stat().st_mtime_ns == before
    with pytest.raises(ik.ConfigError, match=r"was made in another way \(implicitkit degrade .*--spec jpeg\)"):
        runner.prepare(made_by(tmp_path, *command, "--quality", "80"), tmp_path)


def test_what_was_there_before_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "seen.png").write_bytes(b"")
    steps = made_by(tmp_path, "degrade")
    Runner(1, 1, print).prepare(steps, tmp_path)
    assert read_notes(tmp_path) == {}


@pytest.mark.slow
def test_a_command_that_fails_is_named_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(ik.UserError, match=r"prepare: implicitkit list nothing failed: .*nothing"):
        Runner(1, 1, print).prepare(made_by(tmp_path, "list", "nothing"), tmp_path)
    with pytest.raises(ik.UserError, match=r"list losses failed: it has not made .*seen.png"):
        Runner(1, 1, print).prepare(made_by(tmp_path, "list", "losses"), tmp_path)
    assert not (tmp_path / "prepare.json").exists()


@pytest.mark.slow
def test_a_command_that_was_stopped_is_resumed(tmp_path: Path) -> None:
    """--resume is added where the file that it resumes from is there; ``list`` says that it does not know it."""
    (tmp_path / "checkpoint").write_text("")
    steps = made_by(tmp_path, "list", "losses", resumes_from=str(tmp_path / "checkpoint"))
    with pytest.raises(ik.UserError, match=r"No such option:? '?--resume"):
        Runner(1, 1, print).prepare(steps, tmp_path)


def test_a_damaged_note_is_said(tmp_path: Path) -> None:
    (tmp_path / "prepare.json").write_text("{")
    with pytest.raises(ik.UserError, match="cannot read"):
        read_notes(tmp_path)
    (tmp_path / "prepare.json").unlink()
    assert read_notes(tmp_path) == {}

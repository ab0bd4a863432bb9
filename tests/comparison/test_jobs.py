"""Processes: what fails, what waits, what is left alone."""

from __future__ import annotations

import fcntl
import json
import threading
import time
from pathlib import Path

import pytest
from side_by_side import checked, tiny

from implicitkit.comparison.jobs import last_entry, threads_of, train_all, why
from implicitkit.comparison.plan import PlannedRun, make_plan, write_config


@pytest.fixture
def runs(tmp_path: Path) -> list[PlannedRun]:
    settings = tiny(tmp_path)
    settings["methods"]["LTE"] |= {"first": {"model": settings["methods"]["LTE"]["model"]}, "seeds": [0]}
    found = make_plan(checked(settings)).ordered(["LIIF/seed-0", "LTE/seed-0"])
    for run in found:
        write_config(run)
    return found


def test_a_failure_is_explained_and_takes_what_starts_from_it(runs: list[PlannedRun]) -> None:
    liif, first, lte = runs
    said: list[str] = []
    failed = train_all(runs, jobs=2, threads=3, say=said.append, executable=lambda run: ["list", "nothing"])
    assert failed.keys() == {liif.name, first.name, lte.name}
    assert "nothing" in failed[liif.name] and failed[lte.name] == f"{first.name}, which it starts from, failed"
    assert f"{liif.name}: begun" in said and not any(line.startswith(lte.name) for line in said)
    assert threads_of(liif) == 3 and threads_of(lte) is None


def test_a_process_that_ends_well_without_having_trained_has_failed(runs: list[PlannedRun]) -> None:
    failed = train_all(runs[:1], jobs=1, threads=1, say=print, executable=lambda run: ["list", "losses"])
    assert failed == {runs[0].name: "it left no weights"}


def test_what_is_trained_is_left_alone(runs: list[PlannedRun]) -> None:
    (runs[0].folder / "last.safetensors").write_bytes(b"")
    said: list[str] = []
    assert train_all(runs[:1], jobs=1, threads=1, say=said.append, executable=lambda run: ["list", "nothing"]) == {}
    assert said == [] and not (runs[0].folder / "train.txt").exists()


def test_a_run_that_another_process_trains_is_waited_for(runs: list[PlannedRun]) -> None:
    run, said = runs[0], []
    failed: list[dict[str, str]] = []
    with (run.folder / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        def work() -> None:
            failed.append(train_all([run], jobs=1, threads=1, say=said.append, executable=lambda run: ["list", "x"]))

        worker = threading.Thread(target=work)
        worker.start()
        deadline = time.monotonic() + 60
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
        assert worker.is_alive()
        (run.folder / "last.safetensors").write_bytes(b"")  # the other one ends
    worker.join(60)
    assert failed == [{}] and said == [f"{run.name}: another process is training it; waiting for it to end"]


def test_a_run_keeps_the_threads_it_was_begun_with(runs: list[PlannedRun]) -> None:
    run = runs[0]
    (run.folder / "threads.txt").write_text("5\n")
    (run.folder / "checkpoints" / "step-5").mkdir(parents=True)
    train_all([run], jobs=1, threads=1, say=print, executable=lambda run: ["list", "nothing"])
    assert threads_of(run) == 5


def test_the_last_line_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert last_entry(log) == {}
    lines = [json.dumps({"event": "train", "step": k, "text": "x" * 500}) for k in range(30)]
    log.write_text("\n".join(lines) + '\n{"event": "tra')  # another is being written
    assert last_entry(log)["step"] == 29


def test_why_a_process_ended(tmp_path: Path) -> None:
    output = tmp_path / "train.txt"
    output.write_text("error: the first time\nbegun\nerror: the loss is nan near step 3\nwarning: late\n")
    assert why(output, 2) == "the loss is nan near step 3"
    assert why(output, -9) == "killed by signal 9"
    output.write_text("Traceback\nMemoryError\n\n")
    assert why(output, 1) == "MemoryError"
    output.write_text("")
    assert why(output, 3) == "exit status 3"

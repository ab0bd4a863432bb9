"""What is run: training runs and preparations; what fails, what waits, what is left alone."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock

import implicitkit as ik
from implicitkit.comparison.config import Cut, Preparation
from implicitkit.comparison.plan import PlannedRun, make_plan, write_config
from implicitkit.comparison.run import cut, how_made, prepare_all, threads_of, train_all, why
from oracles import PHOTOS
from oracles.comparisons import checked, tiny


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
    failed = train_all(runs, jobs=2, threads=3, say=said.append, arguments=lambda run: ["list", "nothing"])
    assert failed.keys() == {liif.name, first.name, lte.name}
    assert "nothing" in failed[liif.name] and failed[lte.name] == f"{first.name}, which it starts from, failed"
    assert f"{liif.name}: begun" in said and not any(line.startswith(lte.name) for line in said)
    assert threads_of(liif) == 3 and threads_of(lte) is None


def test_a_process_that_ends_well_without_having_trained_has_failed(runs: list[PlannedRun]) -> None:
    failed = train_all(runs[:1], jobs=1, threads=1, say=print, arguments=lambda run: ["list", "losses"])
    assert failed == {runs[0].name: "it left no weights"}


def test_what_is_trained_is_left_alone(runs: list[PlannedRun]) -> None:
    (runs[0].folder / "last.safetensors").write_bytes(b"")
    said: list[str] = []
    assert train_all(runs[:1], jobs=1, threads=1, say=said.append, arguments=lambda run: ["list", "nothing"]) == {}
    assert said == [] and not (runs[0].folder / "train.txt").exists()


def test_a_run_that_another_process_trains_is_waited_for(runs: list[PlannedRun]) -> None:
    run, said = runs[0], []
    failed: list[dict[str, str]] = []
    with FileLock(run.folder / "lock"):

        def work() -> None:
            failed.append(train_all([run], jobs=1, threads=1, say=said.append, arguments=lambda run: ["list", "x"]))

        worker = threading.Thread(target=work)
        worker.start()
        deadline = time.monotonic() + 60
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
        assert worker.is_alive()
        (run.folder / "last.safetensors").write_bytes(b"")  # the other one ends
    worker.join(60)
    assert failed == [{}] and said == [f"{run.name}: another process is training it; waiting for it to end"]


def test_a_run_that_another_process_trains_is_put_off(runs: list[PlannedRun]) -> None:
    """The other run is tried first; meanwhile the locked one is finished."""
    (liif, _, _), said = runs, []
    other = runs[1]

    def arguments(run: PlannedRun) -> list[str]:
        lock.release()
        (liif.folder / "last.safetensors").write_bytes(b"")
        return ["list", "nothing"]

    with FileLock(liif.folder / "lock", thread_local=False) as lock:
        failed = train_all([liif, other], jobs=1, threads=1, say=said.append, arguments=arguments)
    assert failed.keys() == {other.name} and said[0] == f"{other.name}: begun"
    assert not any(line.startswith(liif.name) for line in said)


def test_a_run_keeps_the_threads_it_was_begun_with(runs: list[PlannedRun]) -> None:
    run = runs[0]
    (run.folder / "threads.txt").write_text("5\n")
    (run.folder / "checkpoints" / "step-5").mkdir(parents=True)
    train_all([run], jobs=1, threads=1, say=print, arguments=lambda run: ["list", "nothing"])
    assert threads_of(run) == 5


def test_why_a_process_ended(tmp_path: Path) -> None:
    output = tmp_path / "train.txt"
    output.write_text("error: the first time\nbegun\nerror: the loss is nan near step 3\nwarning: late\n")
    assert why(output, 2) == "the loss is nan near step 3"
    assert why(output, -9) == "killed by signal 9"
    output.write_text("Traceback\nMemoryError\n\n")
    assert why(output, 1) == "MemoryError"
    output.write_text("")
    assert why(output, 3) == "exit status 3"


# ---------------------------------------------------------------------------- preparation


def test_squares_cover_each_picture_once(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    picture = ik.read_image(PHOTOS / "chelsea.png")[:, :133, :200]
    ik.write_image(folder / "cat.png", picture)
    cut(Cut(folders=[str(folder)], side=64, test_every=4), tmp_path / "squares")
    found = {p.stem: p for p in (tmp_path / "squares").rglob("*.png")}
    corners = [(top, left) for top in (2, 66) for left in (4, 68, 132)]  # 5 rows and 8 columns are left over
    assert set(found) == {f"cat_{top}_{left}" for top, left in corners}
    for k, (top, left) in enumerate(corners, start=1):
        file = found[f"cat_{top}_{left}"]
        assert file.parent.name == ("test" if k == 4 else "train")
        assert torch.equal(ik.read_image(file), picture[:, top : top + 64, left : left + 64])


def test_too_few_squares_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(ik.UserError, match=r"give 0 squares of 4000 pixels.*make side smaller"):
        cut(Cut(folders=[str(PHOTOS)], side=4000), tmp_path / "squares")
    assert not any(tmp_path.iterdir())
    with pytest.raises(ik.DataError, match="there is no folder"):
        cut(Cut(folders=["nowhere"]), tmp_path / "squares")


def made_by(output: Path, *command: str, **more: str) -> list[Preparation]:
    return [Preparation(makes=str(output / "seen.png"), command=[*command], **more)]


def test_a_command_is_run_once_and_its_making_noted(tmp_path: Path) -> None:
    command = ["degrade", str(PHOTOS / "chelsea.png"), "-o", str(tmp_path / "seen.png"), "--spec", "jpeg"]
    said: list[str] = []
    notes = prepare_all(made_by(tmp_path, *command), tmp_path, threads=1, say=said.append)
    assert said == [f"making {tmp_path / 'seen.png'}"] and (tmp_path / "seen.png").is_file()
    note = notes[str(tmp_path / "seen.png")]
    assert note["how"] == command and note["threads"] == 1 and note["seconds"] > 0
    before = (tmp_path / "seen.png").stat().st_mtime_ns
    assert prepare_all(made_by(tmp_path, *command), tmp_path, threads=1, say=said.append) == notes
    assert len(said) == 1 and (tmp_path / "seen.png").stat().st_mtime_ns == before
    with pytest.raises(ik.ConfigError, match=r"was made in another way \(implicitkit degrade .*--spec jpeg\)"):
        prepare_all(made_by(tmp_path, *command, "--quality", "80"), tmp_path, threads=1, say=said.append)


def test_what_was_there_before_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "seen.png").write_bytes(b"")
    steps = made_by(tmp_path, "degrade")
    assert prepare_all(steps, tmp_path, threads=1, say=print) == {str(tmp_path / "seen.png"): {"how": "was there"}}
    assert how_made(steps, tmp_path) == {str(tmp_path / "seen.png"): {"how": "was there"}}


def test_a_command_that_fails_is_named_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(ik.UserError, match=r"prepare: implicitkit list nothing failed: .*nothing"):
        prepare_all(made_by(tmp_path, "list", "nothing"), tmp_path, threads=1, say=print)
    with pytest.raises(ik.UserError, match=r"list losses failed: it has not made .*seen.png"):
        prepare_all(made_by(tmp_path, "list", "losses"), tmp_path, threads=1, say=print)
    assert not (tmp_path / "prepare.json").exists()


def test_a_command_that_was_stopped_is_resumed(tmp_path: Path) -> None:
    """--resume is added where the file that it resumes from is there; ``list`` says that it does not know it."""
    (tmp_path / "checkpoint").write_text("")
    steps = made_by(tmp_path, "list", "losses", resumes_from=str(tmp_path / "checkpoint"))
    with pytest.raises(ik.UserError, match=r"No such option:? '?--resume"):
        prepare_all(steps, tmp_path, threads=1, say=print)


def test_a_damaged_note_is_said(tmp_path: Path) -> None:
    (tmp_path / "prepare.json").write_text("{")
    with pytest.raises(ik.UserError, match="cannot read"):
        how_made([], tmp_path)
    (tmp_path / "prepare.json").write_text(json.dumps({"a": 1}))
    assert how_made([], tmp_path) == {}

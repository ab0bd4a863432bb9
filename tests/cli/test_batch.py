"""The loop over many pictures: what is printed, and what a failure and Ctrl-C leave behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import typer
from filelock import FileLock

import implicitkit as ik
from implicitkit.cli import progress
from implicitkit.cli.batch import run_each
from implicitkit.create.notes import Note
from implicitkit.errors import UserError
from implicitkit.files import LOCK


class Job(NamedTuple):
    source: Path


JOBS = [Job(Path(name)) for name in ("a.png", "b.png", "c.png", "d.png")]


def test_the_others_are_done_and_every_failure_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    def work(job: Job, report: Callable[[float], None]) -> str:
        report(0.5)
        if job.source.stem in "bd":
            raise OSError(f"{job.source.stem} is\nbroken" if job.source.stem == "b" else "")
        return f"{job.source} done"

    with pytest.raises(UserError, match="^2 of 4 pictures failed$"):
        run_each(JOBS, work, "working")
    printed = capsys.readouterr()
    assert printed.out.splitlines() == ["a.png done", "c.png done"]
    assert printed.err.splitlines() == ["failed: b.png: b is broken", "failed: d.png: OSError"]


def test_the_error_of_one_picture_alone_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    def work(job: Job, report: Callable[[float], None]) -> str:
        raise UserError("no such luck")

    with pytest.raises(UserError, match="^no such luck$"):
        run_each(JOBS[:1], work, "working")
    assert capsys.readouterr().err == ""


def test_what_is_not_expected_is_listed_and_kept_for_debug(capsys: pytest.CaptureFixture[str]) -> None:
    def work(job: Job, report: Callable[[float], None]) -> str:
        raise ZeroDivisionError("by nothing")

    with pytest.raises(UserError, match="^4 of 4 pictures failed$") as raised:
        run_each(JOBS, work, "working")
    assert isinstance(raised.value.__context__, ZeroDivisionError)
    assert capsys.readouterr().err.splitlines()[0] == "failed: a.png: ZeroDivisionError: by nothing"
    with pytest.raises(ZeroDivisionError):
        run_each(JOBS[:1], work, "working")


def test_ctrl_c_says_what_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    def work(job: Job, report: Callable[[float], None]) -> str:
        if job.source.stem == "c":
            raise KeyboardInterrupt
        if job.source.stem == "a":
            raise OSError("broken")
        return "done"

    with pytest.raises(typer.Exit) as stopped:
        run_each(JOBS, work, "working")
    assert stopped.value.exit_code == 130
    assert capsys.readouterr().err.splitlines() == [
        "failed: a.png: broken",
        "interrupted: 1 of 4 pictures are done, c.png is not",
    ]


def test_what_is_there_is_skipped_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    worked: list[str] = []

    def work(job: Job, report: Callable[[float], None]) -> str:
        worked.append(job.source.name)
        return "done"

    run_each(JOBS, work, "working", is_done=lambda job: job.source.stem in "ac")
    assert worked == ["b.png", "d.png"]
    assert capsys.readouterr().err.splitlines() == ["2 of 4 pictures done in 1 s, 2 were there already"]
    run_each(JOBS[:1], work, "working", is_done=lambda job: True)
    assert capsys.readouterr().err.splitlines() == ["0 of 1 pictures done, 1 was there already"]


def test_what_is_in_the_way_leads_to_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    def work(job: Job, report: Callable[[float], None]) -> str:
        raise UserError(f"{job.source} exists; pass --force to overwrite it")

    with pytest.raises(UserError, match="^4 of 4 pictures failed; --skip-existing leaves out what is there$"):
        run_each(JOBS, work, "working")


def test_progress_counts_pictures_and_says_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def work(job: Job, report: Callable[[float], None]) -> str:
        now[0] += 60 if job.source.stem == "d" else 20  # as its size says
        report(1.0)
        return "done"

    run_each(JOBS, work, "working", sizes=[1, 1, 1, 3])
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["working 17%  1 of 4, 2 min left: a.png", "working 33%  2 of 4, 80 s left: b.png"]
    assert lines[-2] == "working 100%  4 of 4: d.png"
    assert lines[-1] == "4 of 4 pictures done in 2 min"


def test_notes_are_said_once_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    notes: list[Note] = []

    def work(job: Job, report: Callable[[float], None]) -> str:
        notes.append(Note(job.source.name, "seen {}", 2.0, "so what"))
        return "done"

    run_each(JOBS, work, "working", notes=notes)
    assert capsys.readouterr().err.splitlines()[0] == "note: a.png, b.png, c.png and 1 more: seen 2; so what"


@pytest.mark.parametrize(
    "words", [("upscale", "--scale", 2), ("degrade", "--spec", "noise")], ids=lambda words: words[0]
)
def test_a_second_run_into_the_same_folder_is_refused(
    run, folder: Path, tmp_path: Path, words: tuple[object, ...]
) -> None:
    """The first may be of any command; one picture alone, whose file appears whole, is no such run."""
    command, *rest = words
    out = tmp_path / "out"
    out.mkdir()
    with FileLock(out / LOCK):
        refused = run(command, folder, "-o", out, *rest)
        assert refused.code == 2 and refused.out == ""
        line = f"error: another process writes into {out}; wait for it to end, or choose another --output"
        assert refused.err.splitlines()[-1] == line
        assert [file.name for file in out.iterdir()] == [LOCK]
        assert run(command, folder / "a.png", "-o", out / "a.png", *rest).code == 0
    done = run(command, folder, "-o", out, *rest, "--force")
    assert done.code == 0 and not (out / LOCK).exists()


def test_a_run_that_writes_nothing_leaves_no_folder(run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.png").write_text("no picture")
    done = run("upscale", tmp_path / "a.png", tmp_path / "b.png", "-o", tmp_path / "new" / "out")
    assert done.code == 2 and not (tmp_path / "new").exists()


def test_what_another_run_wrote_meanwhile_is_not_overwritten(
    run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The targets are looked at again while the folder is locked."""
    out, create = tmp_path / "out", ik.create_degradation

    def late(spec: object) -> object:
        out.mkdir()
        ik.write_image(out / "a.png", torch.zeros(3, 4, 4))
        return create(spec)

    monkeypatch.setattr("implicitkit.create.create_degradation", late)
    done = run("degrade", folder, "-o", out, "--spec", "noise")
    assert done.code == 2 and f"failed: {folder / 'a.png'}: {out / 'a.png'} exists" in done.err
    assert ik.read_image(out / "a.png").shape == (3, 4, 4) and (out / "b.png").exists()


def test_a_line_names_its_picture_once(capsys: pytest.CaptureFixture[str]) -> None:
    def work(job: Job, report: Callable[[float], None]) -> str:
        raise UserError(f"{job.source} is a text file")

    with pytest.raises(UserError, match="^4 of 4 pictures failed$"):
        run_each(JOBS, work, "working")
    assert capsys.readouterr().err.splitlines()[0] == "failed: a.png is a text file"

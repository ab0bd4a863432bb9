"""The loop over many pictures: what is printed, and what a failure and Ctrl-C leave behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import typer

from implicitkit.cli.batch import run_each
from implicitkit.errors import UserError


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


def test_what_is_not_expected_is_not_swallowed() -> None:
    def work(job: Job, report: Callable[[float], None]) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_each(JOBS, work, "working")


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

"""Progress in a log: lines now and then, on stderr."""

from __future__ import annotations

import pytest

from implicitkit.cli import progress
from implicitkit.cli.progress import bar, clock


def test_a_note_is_a_line_and_counts_alone_come_rarely(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with bar("working", 4) as shown:
        shown.update(1)
        shown.update(1.5, "half", quiet=True)
        shown.update(2, "a.png")
        now[0] += progress.LOG_EVERY_S + 1
        shown.update(3)
        shown.update(3.5)
        shown.say("done")
    printed = capsys.readouterr()
    assert printed.err.splitlines() == ["working 2/4  a.png", "working 3/4", "done"] and printed.out == ""


def test_work_that_is_not_counted_is_shown_in_percent(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("working", 8, counted=False) as shown:
        shown.update(2, "now")
    assert capsys.readouterr().err == "working 25%  now\n"


def test_seconds_as_a_clock_shows_them() -> None:
    assert (clock(0), clock(59.9), clock(3725)) == ("0:00:00", "0:00:59", "1:02:05")

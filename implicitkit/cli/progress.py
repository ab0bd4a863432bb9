"""Progress: a live bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

LOG_EVERY_S = 10.0
SOONEST_S, LEAST_DONE = 2.0, 0.05  # from when on the time left is more than a guess
LEAST_LEFT_S = 0.5


class Progress:
    """The progress of a command, on stderr; results go to stdout."""

    def __init__(self, title: str, total: float, live: Any = None, counted: bool = True) -> None:
        self._title, self._total, self._live, self._counted = title, total, live, counted
        self._task = live.add_task(title, total=total, note="") if live else None
        self._start = self._last = time.monotonic()

    def update(self, done: float, note: str = "", *, quiet: bool = False) -> None:
        """Show progress.

        Args:
            done: units of work.
            note: text behind the count.
            quiet: log a line every ten seconds only, even with a note.
        """
        if self._live:
            self._live.update(self._task, completed=done, note=note)
        elif (note and not quiet) or time.monotonic() - self._last > LOG_EVERY_S:
            self._last = time.monotonic()
            count = f"{done:g}/{self._total:g}" if self._counted else f"{done / self._total:.0%}"
            typer.echo(f"{self._title} {count}  {note}".rstrip(), err=True)

    def left(self, done: float) -> str:
        """The time left by what is done so far, in words; empty while too little is done, and at the end.

        >>> Progress("upscaling", 4).left(0)
        ''
        """
        seconds = time.monotonic() - self._start
        if done <= 0 or seconds < SOONEST_S or done / self._total < LEAST_DONE:
            return ""
        left = seconds * (self._total - done) / done
        return f"{duration(left)} left" if left >= LEAST_LEFT_S else ""

    def say(self, line: str) -> None:
        """Print a line that stays."""
        if self._live:
            self._live.console.print(line, highlight=False, markup=False)
        else:
            typer.echo(line, err=True)


@contextmanager
def bar(title: str, total: float, *, counted: bool = True) -> Iterator[Progress]:
    """A progress display for ``total`` units of work, shown as a count or, if not ``counted``, in percent."""
    if not sys.stderr.isatty():
        yield Progress(title, total, counted=counted)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Live

    measures = (MofNCompleteColumn(), TimeRemainingColumn()) if counted else (TaskProgressColumn(),)
    columns = (TextColumn("{task.description}"), BarColumn(), *measures, TextColumn("{task.fields[note]}"))
    # redirect stdout only on a terminal: in a pipe or a file, results must not go to the bar's stream
    with Live(*columns, console=Console(stderr=True), redirect_stdout=sys.stdout.isatty()) as live:
        yield Progress(title, total, live, counted)


def clock(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> clock(3725)
    '1:02:05'
    """
    whole = int(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"


def duration(seconds: float) -> str:
    """A time in words, as exact as a guess is.

    >>> duration(8.2), duration(75), duration(250), duration(5000)
    ('8 s', '75 s', '4 min', '1 h 23 min')
    """
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"

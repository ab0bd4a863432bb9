"""Progress that is a live bar on a terminal and plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer


class Progress:
    """What a command reports while it works; everything goes to stderr, results go to stdout."""

    def __init__(self, title: str, total: int, live: Any = None) -> None:
        self._title, self._total, self._live = title, total, live
        self._task = live.add_task(title, total=total, note="") if live else None
        self._last = time.monotonic()

    def update(self, done: int, note: str = "") -> None:
        """``done`` of ``total``, with a note behind it."""
        if self._live:
            self._live.update(self._task, completed=done, note=note)
        elif note or time.monotonic() - self._last > 10:
            self._last = time.monotonic()
            typer.echo(f"{self._title} {done}/{self._total}  {note}".rstrip(), err=True)

    def say(self, line: str) -> None:
        """A line that stays."""
        if self._live:
            self._live.console.print(line, highlight=False, markup=False)
        else:
            typer.echo(line, err=True)


@contextmanager
def bar(title: str, total: int) -> Iterator[Progress]:
    """A progress display for ``total`` units of work."""
    if not sys.stderr.isatty():
        yield Progress(title, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Live

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Live(*columns, console=Console(stderr=True)) as live:
        yield Progress(title, total, live)


def clock(seconds: float) -> str:
    """``3725`` as ``1:02:05``."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"

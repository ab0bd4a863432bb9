"""The loop of commands on many pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Protocol, TypeVar

import typer

from implicitkit.cli.progress import bar
from implicitkit.errors import UserError, describe, one_line, text_of
from implicitkit.files import writing_into

EXPECTED = (UserError, ValueError, OSError, MemoryError, RuntimeError)  # errors whose text says enough


class Job(Protocol):
    """One picture to process."""

    @property
    def source(self) -> Path:
        """The picture's file; messages name it."""


J = TypeVar("J", bound=Job)


def run_each(
    jobs: Sequence[J],
    work: Callable[[J, Callable[[float], None]], str],
    title: str,
    into: Iterable[Path] = (),
) -> None:
    """Call ``work`` for each job and print the line it returns; continue when a job fails.

    Failures are listed on stderr at the end, one per line. The error of a single job is raised.

    Args:
        jobs: at least one.
        work: takes a job, and a function that reports its progress in [0, 1].
        title: title of the progress display, such as ``upscaling``.
        into: the folders that several jobs write into; a second command that does so is refused.

    Raises:
        UserError: some of several jobs failed, or another process writes into the same folder.
        typer.Exit: Ctrl-C was pressed.
    """
    failures: dict[str, BaseException] = {}
    alone = writing_into(into) if len(jobs) > 1 else nullcontext()
    with alone, bar(title, len(jobs), counted=False) as display:
        for number, job in enumerate(jobs):
            note = f"{number + 1} of {len(jobs)}: {job.source.name}"

            def report(fraction: float, number: int = number, note: str = note) -> None:
                display.update(number + fraction, note, quiet=True)

            report(0.0)
            try:
                typer.echo(work(job, report))
            except KeyboardInterrupt:
                done = number - len(failures)
                _list(failures)
                typer.echo(f"interrupted: {done} of {len(jobs)} pictures are done, {job.source} is not", err=True)
                raise typer.Exit(130) from None
            except BaseException as error:  # a plugin may raise what is no Exception; the other pictures go on
                if len(jobs) == 1:
                    raise
                failures[str(job.source)] = error
            report(1.0)
    _list(failures)
    if failures:
        summary = UserError(f"{len(failures)} of {len(jobs)} pictures failed")
        summary.__context__ = list(failures.values())[-1]  # whose traceback --debug shows
        raise summary


def _list(failures: Mapping[str, BaseException]) -> None:
    from implicitkit.registry.failures import explain_fault
    from implicitkit.registry.kinds import plugins

    for source, error in failures.items():
        text = (isinstance(error, EXPECTED) and one_line(text_of(error))) or describe(error)
        typer.echo(f"failed: {source}: {explain_fault(error, plugins) or text}", err=True)

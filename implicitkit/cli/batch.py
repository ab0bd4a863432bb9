"""The loop of commands on many pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import typer

from implicitkit.cli.pictures.sharing import Share
from implicitkit.cli.progress import Progress, bar, duration
from implicitkit.create.notes import Note, summarise
from implicitkit.errors import UserError, describe, one_line, text_of
from implicitkit.files import writing_into

EXPECTED_ERRORS = (UserError, ValueError, OSError, MemoryError, RuntimeError)  # errors whose text says enough
ONE_PROCESS = Share()
EXISTS_HINT = "exists; pass --force"


class Job(Protocol):
    """One picture to process."""

    @property
    def source(self) -> Path:
        """The picture's file; messages name it."""


J = TypeVar("J", bound=Job)
Work = Callable[[J, Callable[[float], None]], str]


@dataclass
class Outcome:
    """What became of a process's pictures.

    Attributes:
        done: how many.
        skipped: how many were there already.
        failures: a line for each that failed.
        seconds: how long it took.
        notes: what is to be said of single pictures.
        error: that of the last that failed; ``--debug`` shows its traceback.
    """

    done: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    notes: list[Note] = field(default_factory=list)
    error: BaseException | None = field(default=None, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """For another process: without the error, which may not be such as can be sent."""
        return {**self.__dict__, "error": None}


def run_each(
    jobs: Sequence[J],
    work: Work[J],
    title: str,
    *,
    into: Iterable[Path] = (),
    is_done: Callable[[J], bool] = lambda job: False,
    sizes: Sequence[float] | None = None,
    notes: list[Note] | None = None,
    share: Share = ONE_PROCESS,
) -> None:
    """Call ``work`` for each job and print the line it returns; continue when a job fails.

    At the end, failures are listed on stderr, one per line, and a line says what became of all. The error of a single
    job is raised.

    Args:
        jobs: at least one.
        work: takes a job, and a function that reports its progress in [0, 1].
        title: title of the progress display, such as ``upscaling``.
        into: the folders that several jobs write into; a second command that does so is refused.
        is_done: whether a job is skipped, asked when its turn comes.
        sizes: how much work each job is, in any unit (default: all the same).
        notes: filled by ``work``; said at the end.
        share: this process's share of the jobs; the first process speaks for all.

    Raises:
        UserError: some of several jobs failed, or another command writes into the same folder.
        typer.Exit: Ctrl-C was pressed.
    """
    if len(jobs) == 1:
        into = ()
    costs = [1.0] * len(jobs) if sizes is None else [max(float(size), 1.0) for size in sizes]
    with _only_command_in(into, share):
        outcome = _work_through(list(zip(jobs, costs, strict=True)), work, title, is_done, notes, share)
        outcomes = share.gather(outcome)
    _conclude(outcomes, len(jobs), share, outcome.error)


@contextmanager
def _only_command_in(folders: Iterable[Path], share: Share) -> Iterator[None]:
    """Lock folders for all processes that share them: the first holds the locks, and the others wait until it does."""
    with ExitStack() as locks:
        refusal: UserError | None = None
        if share.is_first:
            try:
                locks.enter_context(writing_into(folders))
            except UserError as error:
                refusal = error
        refused = share.tell(refusal is not None)
        if refusal is not None:
            raise refusal
        if refused:
            raise typer.Exit(2)  # the first says why
        yield


def _work_through(
    jobs: Sequence[tuple[J, float]],
    work: Work[J],
    title: str,
    is_done: Callable[[J], bool],
    notes: list[Note] | None,
    share: Share,
) -> Outcome:
    """Do this process's share of the jobs, each with its cost."""
    outcome, start = Outcome(notes=[] if notes is None else notes), time.monotonic()
    mine = share.of(jobs)
    pending = [(job, cost) for job, cost in mine if not is_done(job)]
    outcome.skipped = len(mine) - len(pending)
    total, finished = sum(cost for _, cost in pending) or 1.0, 0.0
    with bar(title, total, counted=False) if share.is_first else nullcontext(None) as display:
        for number, (job, cost) in enumerate(pending):
            count = f"{number + 1} of {len(pending)}" if len(pending) > 1 else ""
            tell = partial(_show, display, finished, cost, count, job.source.name)
            tell(0.0)
            try:
                if number and is_done(job):  # meanwhile, by another run
                    outcome.skipped += 1
                else:
                    typer.echo(work(job, tell).replace("\n", "\\n"))  # a file's name may hold one
                    outcome.done += 1
            except KeyboardInterrupt:
                _list(outcome.failures)
                text = f"interrupted: {outcome.done} of {len(pending)} pictures are done, {job.source} is not"
                typer.echo(text, err=True)
                raise typer.Exit(130) from None
            except BaseException as error:  # a plugin may raise what is no Exception; the other pictures go on
                if len(jobs) == 1:
                    raise
                said = _explain(error)
                outcome.failures.append(said if said.startswith(str(job.source)) else f"{job.source}: {said}")
                outcome.error = error
            tell(1.0)
            finished += cost
    outcome.seconds = time.monotonic() - start
    return outcome


def _show(display: Progress | None, before: float, cost: float, count: str, name: str, fraction: float) -> None:
    """Show how far one picture is: how many are done, the time left, its name."""
    if display is not None:
        done = before + fraction * cost
        note = ", ".join(filter(None, (count, display.left(done))))
        display.update(done, f"{note}: {name}" if note else name, quiet=True)


def _conclude(outcomes: Sequence[Outcome], count: int, share: Share, error: BaseException | None) -> None:
    """Say what became of all pictures, once for all processes."""
    if not share.is_first:
        return
    failures = [failure for outcome in outcomes for failure in outcome.failures]
    done, skipped = (sum(getattr(outcome, name) for outcome in outcomes) for name in ("done", "skipped"))
    for line in summarise([note for outcome in outcomes for note in outcome.notes]):
        typer.echo(line, err=True)
    _list(failures)
    skipped_note = f", {skipped} {'was' if skipped == 1 else 'were'} there already" if skipped else ""
    if failures:
        in_the_way = any(EXISTS_HINT in failure for failure in failures)
        hint = "; --skip-existing leaves out what is there" if in_the_way else ""
        summary = UserError(f"{len(failures)} of {count} pictures failed{skipped_note}{hint}")
        summary.__context__ = error  # whose traceback --debug shows
        raise summary
    if count > 1 or skipped:
        processes = f" by {share.count} processes" if share.count > 1 else ""
        seconds = max(outcome.seconds for outcome in outcomes)
        time_taken = f" in {duration(seconds)}" if done else ""
        typer.echo(f"{done} of {count} pictures done{processes}{time_taken}{skipped_note}", err=True)


def _list(failures: Sequence[str]) -> None:
    for failure in failures:
        typer.echo(one_line(f"failed: {failure}"), err=True)


def _explain(error: BaseException) -> str:
    """The line for the error of one picture; that of a plugin names it."""
    from implicitkit.registry.failures import explain_fault
    from implicitkit.registry.kinds import plugins

    text = (isinstance(error, EXPECTED_ERRORS) and one_line(text_of(error))) or describe(error)
    return explain_fault(error, plugins) or text

"""``implicitkit compare``."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from implicitkit.errors import UserError


def compare(
    config: Annotated[Path, typer.Argument(help="A YAML file, or the report.json of a comparison to repeat.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY.SUB=VALUE", help="Replace an entry of the file; repeatable."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The comparison's folder (default: the configured one).")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Runs at a time (default: the configured number).")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Train this method (sair) or run (sair/seed-1) alone; repeatable.")
    ] = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="Train nothing; report what there is.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Train methods on equal terms, score them and write a report; run again after a stop, it resumes."""
    from implicitkit.comparison.compare import compare as run
    from implicitkit.comparison.config import CompareConfig, load_comparison
    from implicitkit.comparison.report import table
    from implicitkit.config import apply_settings, check_command, validate

    entries = load_comparison(config)
    check_command(entries, "compare", config)
    apply_settings(entries, settings or [])
    if output is not None:
        entries["output"] = str(output)
    if jobs is not None:
        entries |= {"jobs": jobs, **({} if jobs == entries.get("jobs") else {"threads": None})}
    comparison = validate(CompareConfig, entries, str(config))
    with _stopped_in_a_line():
        report = run(
            comparison,
            only=only or [],
            train=not report_only,
            device=device,
            say=lambda line: typer.echo(line, err=True),
            progress=_progress,
            source=str(config),
            command=shlex.join(["implicitkit", *(a for a in sys.argv[1:] if a != "--debug")]),
        )
    for evaluation in report["evaluations"].values():
        for metrics in filter(None, evaluation["tables"].values()):
            typer.echo(table("scores", evaluation, metrics[0]))
    page = Path(report["folder"]) / "report.md"
    typer.echo(str(page))
    if report["failed"]:
        names = "; ".join(f"{name}: {why}" for name, why in report["failed"].items())
        raise UserError(
            f"{len(report['failed'])} of the runs failed ({names}); the others are in {page}, and the same command "
            "tries again"
        )


@contextmanager
def _progress(title: str, total: int) -> Iterator[Callable[[int, str], Any]]:
    from implicitkit.cli.progress import bar

    with bar(title, total) as shown:
        yield lambda done, note: shown.update(done) if not sys.stderr.isatty() else shown.update(done, note)


@contextmanager
def _stopped_in_a_line() -> Iterator[None]:
    """On Ctrl-C or ``kill``, end all running processes and print one line."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("stopped; the same command resumes from the last checkpoints", err=True)
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)

"""``implicitkit compare``."""

from __future__ import annotations

import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from implicitkit.errors import ConfigError, UserError


class Parser(TyperCommand):
    """Reads ``--models A B C``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Rewrite the words, then parse as usual."""
        return super().parse_args(ctx, list(rewrite(args)))


def rewrite(words: Sequence[str]) -> Iterator[str]:
    """Repeat ``--models`` before each of its words.

    >>> list(rewrite(["--models", "a", "b", "--data", "d"]))
    ['--models', 'a', '--models', 'b', '--data', 'd']
    """
    listing = False
    for word in words:
        if word.startswith("-"):
            listing = word == "--models"
            if listing:
                continue
        elif listing:
            yield "--models"
        yield word


def compare(
    config: Annotated[
        Path | None,
        typer.Argument(
            help="A YAML file, the report.json of a comparison to repeat, or a name of `implicitkit list configs`."
        ),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL...", help="Instead of a file: weight files or pretrained models' names, to score."),
    ] = None,
    data: Annotated[str | None, typer.Option(help="With --models: the test set.")] = None,
    protocol: Annotated[
        str | None, typer.Option(help="With --models: any of `implicitkit list protocols` [default: benchmark].")
    ] = None,
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
    """Train methods on equal terms, score them, write a report.

    Run again after a stop, it resumes. With --models, compare what is trained already.
    """
    from implicitkit.comparison.compare import compare as run
    from implicitkit.comparison.report import table
    from implicitkit.config import apply_settings, check_command, validate
    from implicitkit.config.comparison import CompareConfig, load_comparison
    from implicitkit.registry.configs import find_config

    if models is not None or config is None:
        source = "the command line"
        entries = _of_models(config, models or [], data, protocol)
    elif data is not None or protocol is not None:
        raise UserError("--data and --protocol go with --models; in a file, use --set evaluation.data=DIR")
    else:
        file = find_config(config, "compare")
        source, entries = str(file), load_comparison(file)
        check_command(entries, "compare", file)
    apply_settings(entries, settings or [])
    if output is not None:
        entries["output"] = str(output)
    if jobs is not None:
        entries |= {"jobs": jobs, **({} if jobs == entries.get("jobs") else {"threads": None})}
    comparison = validate(CompareConfig, entries, source)
    with _stopped_in_a_line():
        report = run(
            comparison,
            only=only or [],
            train=not report_only,
            device=device,
            say=lambda line: typer.echo(line, err=True),
            progress=_progress,
            source=source,
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


def _of_models(config: Path | None, models: Sequence[str], data: str | None, protocol: str | None) -> dict[str, Any]:
    """The configuration that compares models which are trained already; the first is the reference."""
    from implicitkit.evaluation.row_names import row_names

    if config is not None:
        raise UserError(f"pass a configuration or --models, not both; received {config} and {' '.join(models)}")
    if not models:
        raise UserError("pass a configuration, or --models A B --data DIR")
    if data is None:
        raise UserError("--models needs --data DIR, the folder of a test set")
    labels = [re.sub(r"[^\w +()-]", "_", name.replace("/", " ")).lstrip(" +()-") for name in row_names(models)]
    if len(set(labels)) < len(labels) or not all(labels):
        raise ConfigError(f"the models' names make no different rows: {', '.join(labels)}; rename their folders")
    return {
        "methods": {label: {"weights_only": str(model)} for label, model in zip(labels, models, strict=True)},
        "reference": labels[:1],
        "evaluation": {"protocol": protocol or "benchmark", "data": data, "metrics": None},
        "output": f"runs/compare/{'-'.join(labels).replace(' ', '_')[:80]}",
    }


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

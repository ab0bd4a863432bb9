"""``implicitkit train``."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from implicitkit.cli.progress import Progress, bar, clock
from implicitkit.errors import UserError, one_line

if TYPE_CHECKING:
    from implicitkit.config import TrainConfig


def train(
    config: Annotated[
        Path,
        typer.Argument(
            help="A YAML file (`implicitkit config-schema` prints what it may hold), or a name of `implicitkit list "
            "configs`."
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY.SUB=VALUE", help="Replace an entry of the file; repeatable."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Continue the run in the configured output directory.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The run directory (default: the configured one).")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    dry: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Train nothing: print sizes and a memory estimate, and save the first batch as a picture.",
        ),
    ] = False,
) -> None:
    """Train a model by a YAML file.

    Killed at any moment, it continues bit for bit with --resume.
    """
    from implicitkit.config import TrainConfig, apply_settings, load_training, located, validate
    from implicitkit.registry.configs import find_config

    file = find_config(config, "train")
    document = load_training(file)
    apply_settings(document, settings or [])
    if output is not None:
        document["output"] = str(output)
    settled = validate(TrainConfig, document, str(file))
    if dry:
        with located(document, str(file)):
            show_dry_run(settled, device)
        return
    if "ACCELERATE_MIXED_PRECISION" in os.environ:  # started by `accelerate launch`
        from implicitkit.training.processes import ranks_to_start

        if (command := ranks_to_start(os.environ)) is not None:
            os.execv(command[0], command)

    from implicitkit.training.loop import train as run

    first = os.environ.get("RANK", "0") == "0"  # the process that reports
    shown = bar("training", settled.steps) if first else nullcontext(Progress("training", settled.steps))
    with interruptible(settled.output), shown as progress, noted_for_torchrun(), located(document, str(file)):
        folder = run(settled, resume=resume, report=reporter(progress), device=device)
    if first:
        typer.echo(f"{folder / 'last.safetensors'}")


@contextmanager
def interruptible(folder: Path) -> Iterator[None]:
    """On Ctrl-C, say in a line whether there is something to go on from."""
    try:
        yield
    except KeyboardInterrupt:
        kept = any(folder.glob("checkpoints/step-*"))
        typer.echo(f"interrupted; --resume goes on in {folder}" if kept else "interrupted; nothing is kept", err=True)
        raise typer.Exit(130) from None


@contextmanager
def noted_for_torchrun() -> Iterator[None]:
    """Leave the line of an error where torchrun looks for it, so that its summary repeats it."""
    try:
        yield
    except UserError as error:
        if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
            note = {"message": one_line(str(error)), "timestamp": int(time.time())}
            with suppress(OSError):
                Path(file).write_text(json.dumps(note), encoding="utf-8")
        raise


def reporter(progress: Progress) -> Callable[[dict[str, Any]], None]:
    """What says each line of the log through ``progress``."""

    def report(entry: dict[str, Any]) -> None:
        match entry["event"]:
            case "start":
                each = "" if entry["processes"] == 1 else " each"
                progress.say(
                    f"training on {entry['device']} in {entry['precision']}, {entry['processes']} "
                    f"process{'es' if each else ''}, {entry['crops_per_process']} crops per step{each}"
                )
                dropped = f", {entry['dropped']} too small and skipped" if entry["dropped"] else ""
                if entry.get("unreadable"):
                    dropped += f", {entry['unreadable']} unreadable and skipped"
                progress.say(f"{entry['parameters']:,} parameters; {entry['pictures']} pictures{dropped}")
                if entry["step"]:
                    progress.say(f"resumed at step {entry['step']}")
            case "train":
                progress.update(
                    entry["step"],
                    f"loss {entry['loss']:.5f}  lr {entry['lr']:.1e}  {entry['crops_per_s']:.1f} crops/s  "
                    f"{clock(entry['seconds_left'])} left",
                )
            case "end":
                progress.say(f"ended early at step {entry['step']}: {entry['reason']}")
            case "validation":
                kind, unit, digits = ("psnr", " dB", 2) if "psnr" in entry else ("loss", "", 5)
                tasks = [k.removeprefix(f"{kind}_") for k in entry if k.startswith(f"{kind}_")]
                scores = "  ".join(f"{task} {entry[f'{kind}_{task}']:.{digits}f}" for task in tasks)
                others = [k for k in entry if f"{k}_{tasks[0]}" in entry and k != kind]
                more = "".join(f", {metric} {entry[metric]:.4f}" for metric in others)
                progress.say(f"step {entry['step']}: validation {'PSNR-Y' if unit else kind} {scores}{unit}{more}")

    return report


def show_dry_run(config: TrainConfig, device: str) -> None:
    """Print what a run would be, and save its first batch as a picture beside its run directory."""
    from implicitkit.training.dry_run import dry_run

    rows = dry_run(config, device).rows()
    width = max(map(len, rows)) + 1
    for name, value in rows.items():
        typer.echo(f"{name + ':':<{width}} {value}")

"""``implicitkit train``."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from implicitkit.cli.progress import Progress, bar, clock
from implicitkit.errors import UserError, one_line


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
) -> None:
    """Train a model by CONFIG; killed at any moment, --resume continues it bit for bit."""
    from implicitkit.config import TrainConfig, apply_settings, check_command, load_yaml, located, validate
    from implicitkit.registry.configs import find_config

    file = find_config(config, "train")
    document = load_yaml(file)
    check_command(document, "train", file)
    apply_settings(document, settings or [])
    settled = validate(TrainConfig, document, str(file))
    if "ACCELERATE_MIXED_PRECISION" in os.environ:  # started by `accelerate launch`
        from implicitkit.training.processes import ranks_to_start

        if (command := ranks_to_start(os.environ)) is not None:
            os.execv(command[0], command)

    from implicitkit.training.loop import train as run

    first = os.environ.get("RANK", "0") == "0"  # the process that reports
    with bar("training", settled.steps) if first else nullcontext(Progress("training", settled.steps)) as progress:

        def report(entry: dict[str, Any]) -> None:
            match entry["event"]:
                case "start":
                    each = "" if entry["processes"] == 1 else " each"
                    progress.say(
                        f"training on {entry['device']} in {entry['precision']}, {entry['processes']} "
                        f"process{'es' if each else ''}, {entry['crops_per_process']} crops per step{each}"
                    )
                    dropped = f", {entry['dropped']} too small and skipped" if entry["dropped"] else ""
                    progress.say(f"{entry['parameters']:,} parameters; {entry['pictures']} pictures{dropped}")
                    if entry["step"]:
                        progress.say(f"resumed at step {entry['step']}")
                case "train":
                    progress.update(
                        entry["step"],
                        f"loss {entry['loss']:.5f}  lr {entry['lr']:.1e}  {entry['crops_per_s']:.1f} crops/s  "
                        f"{clock(entry['seconds_left'])} left",
                    )
                case "validation":
                    kind, unit, digits = ("psnr", " dB", 2) if "psnr" in entry else ("loss", "", 5)
                    scores = "  ".join(
                        f"{k.removeprefix(kind + '_')} {v:.{digits}f}"
                        for k, v in entry.items()
                        if k.startswith(f"{kind}_")
                    )
                    progress.say(f"step {entry['step']}: validation {'PSNR-Y' if unit else kind} {scores}{unit}")

        with noted_for_torchrun(), located(document, str(file)):
            folder = run(settled, resume=resume, report=report)
    if first:
        typer.echo(f"{folder / 'last.safetensors'}")


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

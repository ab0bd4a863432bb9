"""``implicitkit train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from implicitkit.cli.progress import bar, clock


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
    from implicitkit.config import TrainConfig, apply_settings, load_yaml, validate
    from implicitkit.registry.configs import find_config
    from implicitkit.training.loop import train as run

    file = find_config(config, "train")
    settled = validate(TrainConfig, apply_settings(load_yaml(file), settings or []), str(file))
    with bar("training", settled.steps) as progress:

        def report(entry: dict[str, Any]) -> None:
            match entry["event"]:
                case "start":
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

        folder = run(settled, resume=resume, report=report)
    typer.echo(f"{folder / 'last.safetensors'}")

"""``implicitkit pretrain-mae``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from implicitkit_sair.training.pretrain import Settings, pretrain


def pretrain_mae(
    folder: Annotated[Path, typer.Argument(help="Pictures, searched recursively; no labels are needed.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .safetensors file to write.")],
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = Settings.steps,
    batch: Annotated[int, typer.Option(help="Crops per step.")] = Settings.batch,
    size: Annotated[int, typer.Option(help="Side of a crop, pixels; a multiple of the patch.")] = Settings.size,
    lr: Annotated[float, typer.Option(help="Highest learning rate.")] = Settings.lr,
    seed: Annotated[int, typer.Option(help="Decides on everything random.")] = Settings.seed,
    workers: Annotated[int, typer.Option(help="Processes that prepare crops.")] = Settings.workers,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps or xpu.")] = "auto",
    license: Annotated[str, typer.Option(help="Terms of the weights, written into the file.")] = "",
    resume: Annotated[bool, typer.Option(help="Go on from the checkpoint beside the output.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Repeatable. Of the network: patch (its side, pixels), width (of the tokens), depth (blocks), heads "
            "(per block), out_channels (features per patch; default: the width). Of the training: scale (crops are "
            "shrunk by a random factor up to this), hidden (share of patches), log_every, checkpoint_every (steps).",
        ),
    ] = None,
) -> None:
    """Pre-train the encoder mae_small on FOLDER: hidden patches of unlabelled pictures are what it learns from."""
    from implicitkit.cli import bar
    from implicitkit.config import apply_settings, validate
    from implicitkit_sair.cli.options import PretrainMAE

    rare = validate(PretrainMAE, apply_settings({}, settings or []), "--set")
    chosen = Settings(steps=steps, batch=batch, size=size, lr=lr, seed=seed, workers=workers, **rare.model_dump())
    with bar("pre-training", steps) as progress:

        def report(entry: dict[str, Any]) -> None:
            progress.update(entry["step"], f"loss {entry['loss']:.4f}  lr {entry['lr']:.1e}")

        pretrain(folder, output, chosen, resume=resume, device=device, license=license, report=report)
    typer.echo(str(output))

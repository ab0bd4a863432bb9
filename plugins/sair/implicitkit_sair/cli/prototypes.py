"""``implicitkit make-prototypes``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from implicitkit_sair.training.prototypes import find_prototypes


def make_prototypes(
    folder: Annotated[Path, typer.Argument(help="Pictures, searched recursively; no labels are needed.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .safetensors file to write.")],
    encoder: Annotated[
        str, typer.Option(help="Whose features: a name, or a spec such as '{name: mae_small, weights: FILE}'.")
    ],
    count: Annotated[int, typer.Option(help="How many prototypes.")] = 16,
    pictures: Annotated[int, typer.Option(help="Look at so many pictures at most, spread over the folder.")] = 500,
    seed: Annotated[int, typer.Option(help="Decides on everything random.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps or xpu.")] = "auto",
) -> None:
    """Find classes for an encoder that has no words: what its features of FOLDER gather around."""
    from implicitkit import UserError
    from implicitkit.cli import bar
    from implicitkit.config import parse
    from implicitkit.images import picture_files

    spec = parse(encoder, "--encoder")[0]
    if not isinstance(spec, (str, dict)):
        raise UserError(f"--encoder is a name, or a mapping with a name; received {encoder!r}")
    with bar("looking", min(pictures, len(picture_files([folder])))) as progress:
        find_prototypes(
            folder,
            output,
            spec,
            count=count,
            pictures=pictures,
            seed=seed,
            device=device,
            progress=lambda done, _: progress.update(done),
        )
    typer.echo(str(output))

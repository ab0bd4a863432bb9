"""``implicitkit convert``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from implicitkit.cli.inputs import check_target


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The authors' or mmagic's .pth, or a native file.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The native file to write (.safetensors).")],
    half: Annotated[bool, typer.Option(help="Store the weights in half precision.")] = False,
    fold: Annotated[bool, typer.Option(help="Merge layers that only training needs.")] = False,
    force: Annotated[bool, typer.Option(help="Overwrite OUT.")] = False,
) -> None:
    """Write a checkpoint as one native file; print its layout."""
    import torch

    from implicitkit.create import build_checkpoint
    from implicitkit.errors import UserError
    from implicitkit.weights import read_checkpoint

    if target.suffix != ".safetensors":
        raise UserError(f"native weight files end in .safetensors; received {target}")
    check_target(target, force)
    checkpoint = read_checkpoint(source)
    model = build_checkpoint(checkpoint, str(source))
    typer.echo(f"recognised: {checkpoint.layout}, {sum(p.numel() for p in model.parameters()):,} parameters")
    if checkpoint.dropped:
        typer.echo(f"left out, as they do nothing: {', '.join(summarise(checkpoint.dropped))}")
    if fold:
        for part in (model.encoder, *model.necks, model.decoder):
            part.fold()
        typer.echo(f"folded: {sum(p.numel() for p in model.parameters()):,} parameters")
    model.save(target, dtype=torch.float16 if half else None)
    typer.echo(f"wrote {target} ({target.stat().st_size:,} bytes)")


def summarise(keys: Sequence[str]) -> list[str]:
    """The keys, with those that differ in numbers alone as one.

    >>> summarise(["layers.0.mask", "layers.1.mask", "mean"])
    ['layers.N.mask (×2)', 'mean']
    """
    groups = Counter(re.sub(r"\.\d+(?=\.)", ".N", key) for key in keys)
    return [f"{key} (×{count})" if count > 1 else key for key, count in groups.items()]

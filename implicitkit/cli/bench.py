"""``implicitkit bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from implicitkit.cli.progress import bar
from implicitkit.errors import UserError

BUSY = 0.2


def bench(
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model's name, or a weight file; repeatable [default: LIIF and LTE as published]."),
    ] = None,
    sizes: Annotated[str, typer.Option(help="Sides of the square input pictures, e.g. '64 128'.")] = "128",
    scale: Annotated[int, typer.Option(help="Magnification, a whole number.")] = 4,
    rows: Annotated[
        str | None,
        typer.Option(help="Groups of rows: render rate shape decoder step cold large gpu [default: all but large]."),
    ] = None,
    long: Annotated[bool, typer.Option("--long", help="Measure 4096²→16384² as well; it takes long.")] = False,
    repeats: Annotated[int, typer.Option(help="Timed runs of each side; the median counts.")] = 5,
    threads: Annotated[int | None, typer.Option(help="CPU threads [default: PyTorch's choice].")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the rows here as JSON.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    force: Annotated[bool, typer.Option(help="Overwrite the JSON file.")] = False,
) -> None:
    """Measure rendering and training beside the authors' way; print a table with the goals."""
    from implicitkit.cli.inputs import check_target

    if output is not None:
        check_target(output, force)
    sides = _sides(sizes)
    if not 1 <= scale <= 64:
        raise UserError(f"--scale is a whole number from 1 to 64; received {scale}")
    if repeats < 1:
        raise UserError(f"--repeats is at least 1; received {repeats}")
    if threads is not None and threads < 1:
        raise UserError(f"--threads is at least 1; received {threads}")

    import torch

    from implicitkit.bench.report import GROUPS, LONG, measure
    from implicitkit.bench.rows import markdown
    from implicitkit.bench.speed import PUBLISHED, Settings
    from implicitkit.devices import choose_device
    from implicitkit.files import write_json

    groups = (
        [group for group in GROUPS if group not in LONG or long] if rows is None else rows.replace(",", " ").split()
    )
    for group in groups:
        if group not in GROUPS:
            raise UserError(f"unknown rows {group!r}; there are {', '.join(GROUPS)}")
    if threads is not None:
        torch.set_num_threads(threads)
    settings = Settings(tuple(model or PUBLISHED), sides, scale, repeats, choose_device(device))
    for name in settings.models:
        loaded = settings.load(name)  # what is not there is said now, not after an hour
        if loaded.ndim != 2 or loaded.encoder.in_channels != 3 or loaded.takes_mask:
            raise UserError(f"{name} does not map RGB pictures, so it cannot be measured on one")
    with bar("rows", len(groups)) as progress:
        measured, report = measure(settings, groups, progress.update)
    typer.echo(f"{report['machine']}; median of {repeats}\n")
    typer.echo(markdown(measured))
    if report["busy"] > BUSY:
        typer.echo(f"warning: the machine was {report['busy']:.0%} busy with something else before", err=True)
    if output is not None:
        write_json(output, report)


def _sides(text: str) -> tuple[int, ...]:
    sides = text.replace(",", " ").split()
    if not sides or not all(side.isdecimal() and 8 <= int(side) <= 4096 for side in sides):
        raise UserError(f"--sizes are sides in pixels, from 8 to 4096, e.g. '64 128'; received {text!r}")
    return tuple(int(side) for side in sides)

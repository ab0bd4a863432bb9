"""``implicitkit demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from implicitkit.errors import UserError

MIN_SIDE = 32


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG to write.")] = Path("implicitkit_demo.png"),
    scale: Annotated[
        float, typer.Option(help="Factor to shrink the photo by, and enlarge it again; any number from 1.")
    ] = 3.7,
    model: Annotated[str, typer.Option(help="A pretrained model's name, or a weight file.")] = "liif_small",
    photo: Annotated[Path | None, typer.Option(help="A photo of your own instead of the bundled one.")] = None,
    force: Annotated[bool, typer.Option(help="Overwrite the output.")] = False,
) -> None:
    """Shrink a photo, enlarge it by bicubic and by the model, and show both beside the truth with their PSNR."""
    from implicitkit.comparison import PHOTO, compare_upscaling
    from implicitkit.create import load_model
    from implicitkit.images.io import check_writable, read_image, write_image

    if output.exists() and not force:
        raise UserError(f"{output} exists; pass --force to overwrite it")
    check_writable(output, (1, 1))
    clean = read_image(photo or PHOTO)
    shortest = min(clean.shape[1:])
    if shortest < MIN_SIDE:
        raise UserError(f"the photo must have at least {MIN_SIDE} pixels a side; {photo} has {shortest}")
    if not 1 <= scale <= shortest / 8:
        raise UserError(f"--scale lies between 1 and {shortest / 8:g} for this photo; received {scale:g}")
    sheet, scores = compare_upscaling(load_model(model), clean, scale, name=Path(model).stem)
    write_image(output, sheet)
    for method, value in scores.items():
        typer.echo(f"{method:<12} {value:.2f} dB (PSNR-Y, ×{scale:g})")
    typer.echo(f"wrote {output}")

"""``implicitkit export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from implicitkit.errors import UserError


def export(
    model: Annotated[str, typer.Argument(help="A model's name, or a weight file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to make.")],
    format: Annotated[str, typer.Option(help="onnx, or pt2 (torch.export).")] = "onnx",
    scale: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Also a graph of this magnification, from picture to picture; repeatable."),
    ] = None,
) -> None:
    """Write a model as two graphs that run without this library.

    They are the encoder and the decoder, and take any size.
    """
    if format not in ("onnx", "pt2"):
        raise UserError(f"--format is onnx or pt2; received {format!r}")
    if output.exists():
        raise UserError(f"{output} exists; choose another folder")

    from implicitkit.create import load_model
    from implicitkit.export import export as write

    done = write(load_model(model), output, "pt2" if format == "pt2" else "onnx", scales=scale or ())
    files = ", ".join(sorted(path.name for path in done.folder.iterdir()))
    typer.echo(f"wrote {done.folder} ({files}); differs from the model by {done.difference:.0e} at most")

"""``implicitkit info``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from implicitkit.model import ImplicitModel


def info(model: Annotated[str, typer.Argument(help="A model's name, or a weight file.")]) -> None:
    """Describe a model: its parts, its needs and its training."""
    from pathlib import Path

    from implicitkit.create import create_model, load_model
    from implicitkit.registry.kinds import models

    is_name = not Path(model).is_file() and model in models
    has_weights = not is_name or bool(models.find(model)[0].metadata.get("pretrained"))
    built = load_model(model) if has_weights else create_model(model)
    needs = built.needs
    scales = needs["trained_scales"]
    rows = {
        **parts(built),
        "inputs": f"{', '.join(built.inputs)}; {needs['input_channels']} channels in [0, 1]",
        "stride": str(needs["stride"]),
        "receptive field": receptive_field(built),
        "trained scales": f"×{scales[0]:g} to ×{scales[1]:g}" if scales else "not stated",
        "weights": "yes" if has_weights else "none (random)",
        "license": built.license or "not stated",
        "training": json.dumps(built.training_summary) if built.training_summary else "not stated",
    }
    if needs["mask"]:
        rows["mask"] = f"1 where a pixel is missing; holes are filled with {built.hole_fill}"
    if built.passes != 1:
        rows["passes"] = str(built.passes)
    width = max(16, *map(len, rows)) + 1
    for name, value in rows.items():
        typer.echo(f"{name + ':':<{width}} {value}")


def receptive_field(model: ImplicitModel) -> str:
    """In pixels; where a model that it reads sees further than its own encoder, both."""

    def words(pixels: int | str) -> str:
        return f"{pixels} pixels" if isinstance(pixels, int) else pixels

    widest, own = model.needs["receptive_field"], model.encoder.receptive_field
    return words(widest) if widest == own else f"{words(widest)} (its own encoder: {words(own)})"


def parts(model: ImplicitModel, within: str = "") -> dict[str, str]:
    """The parts of a model and of its conditions: spec, number of parameters, and whether they are frozen."""
    rows = {}
    for name in ("encoder", "decoder"):
        part = getattr(model, name)
        size = sum(p.numel() for p in part.parameters())
        frozen = "" if part.trainable else ", frozen"
        rows[within + name] = f"{json.dumps(model.spec[name])}  ({size:,} parameters{frozen})"
    for name, condition in model.conditions.items():
        rows |= parts(condition, f"{within}{name} ")
    return rows

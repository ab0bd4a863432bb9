"""``implicitkit restore``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from implicitkit.cli.batch import run_each
from implicitkit.cli.pictures.clips import Job
from implicitkit.cli.pictures.options import Outputs, with_outputs
from implicitkit.cli.pictures.upscale import check_output, plan
from implicitkit.create.notes import Note, notes_of_range
from implicitkit.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from implicitkit.model import ImplicitModel

OTHER_COMMANDS = {  # what another command undoes
    "super_resolution": "it does so while it enlarges: implicitkit upscale --model {model}",
    "inpainting": "implicitkit inpaint (of implicitkit-sair) fills holes, and takes their mask",
}


@with_outputs
def restore(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Pictures, or folders of pictures.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="A model that was trained to undo noise, blur, JPEG, ... at a picture's own size: a file, a hub id or "
            "a name. None is in the box.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A file, or a folder; by default beside the input.", show_default=False),
    ] = None,
    undo: Annotated[
        str | None, typer.Option(help="What the pictures suffer from; refused if the model does not undo it.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    *,
    outputs: Outputs,
) -> None:
    """Undo what a model was trained to undo: noise, blur, JPEG.

    Grey, alpha, 16 bits, colour profiles and EXIF are kept.
    """
    if model is None:
        raise UserError(
            "--model is needed: none of the models in the box restores at the picture's own size; name the weights of "
            "one that you trained (docs/training.md, a degradation without super_resolution)"
        )
    jobs = plan(inputs, output, "restored", outputs, model)
    pending = [job for job in jobs if not outputs.is_done([job.target])]
    if len(jobs) == 1 and not inputs[0].is_dir() and pending:
        check_output(jobs[0].source, jobs[0].target, outputs.force)

    from implicitkit.create import load_model
    from implicitkit.devices import choose_device, explain_precision
    from implicitkit.images.folders import Origin
    from implicitkit.images.io import read_picture
    from implicitkit.images.upscale import upscale_picture

    first = (
        read_picture(jobs[0].source) if len(jobs) == len(pending) == 1 else None
    )  # a bad file fails before loading the model
    where = choose_device(device)
    network = load_model(model).to(where)
    steps = check_restorer(network, model, undo)
    notes: list[Note] = []

    def work(job: Job, report: Callable[[float], None]) -> str:
        check_output(job.source, job.target, outputs.force)
        picture = first or read_picture(job.source)
        notes.extend(notes_of_range(job.source.name, picture))
        number_format, why = explain_precision(precision, where, bits=picture.bits)
        pixels = picture.size[0] * picture.size[1]
        result = upscale_picture(
            network, picture, picture.size, precision=number_format, progress=lambda done: report(done / pixels)
        )
        job.target.parent.mkdir(parents=True, exist_ok=True)
        origin = None if job.root is None else Origin(job.source, job.root)
        outputs.write(job.target, result, origin=origin)
        reason = f": {why}" if why else ""
        return f"{job.source} -> {job.target}, {' and '.join(steps)} undone ({where}, {number_format}{reason})"

    run_each(
        jobs,
        work,
        "restoring",
        into=[job.target.parent for job in jobs],
        is_done=lambda job: outputs.is_done([job.target]),
        notes=notes,
    )


def check_restorer(model: ImplicitModel, name: str, undo: str | None = None) -> list[str]:
    """The degradations that ``model`` undoes, by name.

    Raises:
        UserError: it gives no pictures, does not say what it was trained for, was trained for what another command
            does, or does not undo ``undo``.
    """
    from implicitkit.registry.registry import fold

    if model.encoder.in_channels != 3 or model.decoder.out_channels != 3 or model.decoder.output != "picture":
        raise UserError(f"{name} does not map RGB pictures to RGB pictures, so it cannot restore")
    steps = [str(step.get("name")) for step in model.training_summary.get("degradation") or []]
    if not steps:
        raise UserError(
            f"{name} does not say what it was trained to undo; `implicitkit upscale --scale 1` shows what it makes of "
            "a picture"
        )
    for step in steps:
        if step in OTHER_COMMANDS:
            other = OTHER_COMMANDS[step].format(model=name)
            raise UserError(f"{name} was trained to undo {' and '.join(steps)}; {other}")
    if undo is not None and fold(undo) not in steps:
        raise UserError(f"{name} was trained to undo {' and '.join(steps)}, not {undo}")
    return steps

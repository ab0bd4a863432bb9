"""Volumes in ``implicitkit upscale``: NIfTI in and out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from implicitkit.cli.batch import run_each
from implicitkit.cli.inputs import check_target, refuse_clashes
from implicitkit.cli.pictures.clips import Job
from implicitkit.cli.pictures.options import MAX_SCALE, Outputs, OutputSize
from implicitkit.errors import UserError

if TYPE_CHECKING:
    from implicitkit.images.volumes import Volume
    from implicitkit.model import ImplicitModel

SUFFIXES = (".nii", ".nii.gz")  # implicitkit.images.volumes', known without importing it
INTERPOLATIONS = ("spline", "linear", "nearest")  # likewise; the first is the default
VOXEL_BYTES = 48  # per voxel of the result: float64 for the file, float32 of what is computed, copies


def is_scan(path: Path) -> bool:
    """Whether an input is a volume, by its suffix."""
    return path.name.lower().endswith(SUFFIXES) and not path.is_dir()


def plan_scans(
    inputs: Sequence[Path], output: Path | None, target: OutputSize, outputs: Outputs, only: Mapping[str, bool]
) -> list[Job]:
    """Plan the outputs: the file ``output``, in the folder ``output``, or beside the volume with ``_fine`` behind its
    name.

    Args:
        inputs: volumes.
        output: a file or a folder.
        target: how fine they become.
        outputs: how files are named and written.
        only: other options that are of pictures only, and whether they are given.

    Raises:
        UserError: a volume is missing, pictures are among them, or an option is of pictures only.
    """
    _check_request(inputs, target, outputs, only)
    if output is not None and len(inputs) == 1 and output.suffix and not output.is_dir():
        outputs.check_file(output)
        jobs = [Job(inputs[0], output)]
    else:
        if output is not None and output.name.lower().endswith(SUFFIXES):
            raise UserError(f"{len(inputs)} volumes cannot become the one file {output}; name a folder")
        jobs, digits = [], len(str(len(inputs)))
        for number, source in enumerate(inputs, start=1):
            suffix = next(s for s in reversed(SUFFIXES) if source.name.lower().endswith(s))
            stem = source.name[: -len(suffix)]
            values = {"name": stem, "label": "fine", "model": "volume", "number": f"{number:0{digits}}"}
            name = outputs.file_name(f"{stem}_fine" if output is None else stem, **values)
            jobs.append(Job(source, (output or source.parent) / f"{name}{suffix}"))
    refuse_clashes({job.source: [job.target] for job in jobs})
    for source, goal in ((job.source, job.target) for job in jobs):
        if not goal.name.lower().endswith(SUFFIXES):
            raise UserError(f"{goal}: volumes are written as {' or '.join(SUFFIXES)}")
        if not outputs.is_done([goal]):
            if goal.exists() and goal.resolve() == source.resolve():
                raise UserError(f"{goal} is the input itself; choose another name")
            check_target(goal, outputs.force)
    return jobs


def _check_request(inputs: Sequence[Path], target: OutputSize, outputs: Outputs, only: Mapping[str, bool]) -> None:
    """See ``plan_scans`` for what is raised."""
    for path in inputs:
        if not is_scan(path):
            raise UserError(f"{path} is no volume, {next(filter(is_scan, inputs))} is; do pictures and volumes apart")
        if not path.exists():
            raise UserError(f"there is no file {path}")
    sizes = {f"--{f.name}": getattr(target, f.name) != f.default for f in fields(target)}
    given = {**sizes, "--format": outputs.format is not None, "--quality": outputs.quality is not None, **only}
    for name in [name for name, is_given in given.items() if is_given and name not in ("--scale", "--spacing")]:
        raise UserError(f"{name} is of pictures; volumes take --scale or --spacing")
    if target.scale is not None and target.spacing is not None:
        raise UserError("give one of --scale and --spacing")


def run_scans(
    jobs: Sequence[Job], target: OutputSize, model: str | None, device: str, precision: str, outputs: Outputs
) -> None:
    """Make volumes finer, one after the other.

    Raises:
        UserError: the model is not of volumes of one channel.
    """
    from implicitkit.create import load_model
    from implicitkit.devices import choose_device, choose_precision

    where = choose_device(device)
    name = INTERPOLATIONS[0] if model is None else model
    network = None if name in INTERPOLATIONS else load_model(name).to(where)
    if network is not None:
        _check_model(network, name)
    number_format = choose_precision(precision, where, bits=16)

    def work(job: Job, report: Callable[[float], None]) -> str:
        from implicitkit.images.volumes import coarsen, interpolate, read_volume, write_volume

        check_target(job.target, outputs.force)
        volume = read_volume(job.source)
        size = finer(volume, target, job.source)
        if network is None:
            values = interpolate(volume.values, size, name)
        else:
            at_least = [max(n, m) for n, m in zip(volume.values.shape[1:], size, strict=True)]
            field = network.encode(volume.values.to(where), precision=number_format)
            values = coarsen(field.render(at_least).cpu(), size)
        result = volume.resized(values)
        job.target.parent.mkdir(parents=True, exist_ok=True)
        write_volume(job.target, result)
        shapes = ["×".join(map(str, v.values.shape[1:])) for v in (volume, result)]
        steps = ["×".join(f"{s:.4g}" for s in v.spacing) for v in (volume, result)]
        by = f"by {name}, which learns nothing" if network is None else f"by {name} ({where}, {number_format})"
        return f"{job.source} {shapes[0]} of {steps[0]} mm -> {job.target} {shapes[1]} of {steps[1]} mm, {by}"

    run_each(
        jobs,
        work,
        "upscaling",
        into=[job.target.parent for job in jobs],
        is_done=lambda job: outputs.is_done([job.target]),
    )


def finer(volume: Volume, target: OutputSize, source: Path) -> tuple[int, ...]:
    """The size that the options say; without any, that of cubes as fine as the finest axis.

    Raises:
        UserError: they are no positive numbers, nothing says how fine, or the result does not fit into memory.
    """
    import torch

    from implicitkit.devices import free_memory

    if target.spacing is not None:
        size = volume.size_at(_spacing(target.spacing))
    elif target.scale is not None:
        if not 0 < target.scale <= MAX_SCALE:
            raise UserError(f"--scale is a positive number up to {MAX_SCALE:g}; received {target.scale}")
        size = volume.size_at([s / target.scale for s in volume.spacing])
    else:
        size = volume.size_at(min(volume.spacing))
        if size == tuple(volume.values.shape[1:]):
            step = "×".join(f"{s:.4g}" for s in volume.spacing)
            raise UserError(f"the voxels of {source} are cubes already ({step} mm); say --scale or --spacing")
    needed, available = prod(size) * VOXEL_BYTES, free_memory(torch.device("cpu"))
    if needed > available:
        raise UserError(
            f"a volume of {'×'.join(map(str, size))} voxels needs {needed / 1e9:,.1f} GB, {available / 1e9:.1f} GB are "
            "free; take a smaller --scale or a larger --spacing"
        )
    return size


def _spacing(text: str) -> float | list[float]:
    """The millimetres of ``--spacing``.

    >>> _spacing("1"), _spacing("1x1x2.5")
    (1.0, [1.0, 1.0, 2.5])
    """
    try:
        steps = [float(part) for part in text.lower().replace("×", "x").split("x")]
    except ValueError:
        steps = []
    if len(steps) not in (1, 3) or not all(0 < step < float("inf") for step in steps):
        raise UserError(f"--spacing is millimetres, such as 1, or 1x1x3 for the file's three axes; received {text!r}")
    return steps[0] if len(steps) == 1 else steps


def _check_model(network: ImplicitModel, name: str) -> None:
    """Raise :class:`UserError` unless a model maps volumes of one channel to such."""
    channels = network.encoder.in_channels, network.decoder.out_channels
    if network.ndim != 3 or channels != (1, 1) or network.decoder.output != "picture":
        kind = "volumes" if network.ndim == 3 else "pictures"
        raise UserError(
            f"{name} maps {kind} of {channels[0]} channels to {channels[1]}; for volumes pass --model with a file of "
            f"ndim: 3 and one channel (docs/volumes.md trains one), or {', '.join(INTERPOLATIONS)}, which learn nothing"
        )

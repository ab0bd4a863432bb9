"""``implicitkit inpaint``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from implicitkit import UserError
from implicitkit.cli import (
    Outputs,
    check_target,
    find_pictures,
    place_in,
    refuse_clashes,
    run_each,
    this_share,
    with_outputs,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

MASK_SUFFIX = "_mask"  # what `implicitkit degrade` calls the mask of x.png is x_mask.png
LEAST_HIDDEN = 0.001  # of a hole, that is said to be transparent
COMPANIONS = (MASK_SUFFIX, "_reference")


DEFAULT_OUTPUTS = Outputs()


@with_outputs
def inpaint(
    image: Annotated[Path, typer.Argument(help="A picture, or a folder of pictures.")],
    mask: Annotated[
        Path,
        typer.Argument(
            help="Its mask, of the same size; or a folder with a mask for each picture, NAME or NAME_mask. Of a mask "
            "of one colour that is transparent in places, what is opaque counts as white."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="A file, or a folder for PNG files.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="Weights that were trained to inpaint: a file, a hub id or a name; or biharmonic, harmonic or "
            "patches, which learnt nothing [default: the shipped models, biharmonic and harmonic, mixed as "
            "fills copies of the holes best at known places of the picture]."
        ),
    ] = None,
    hole: Annotated[str, typer.Option(help="Which pixels of the mask are missing: white or black.")] = "white",
    passes: Annotated[
        int | None, typer.Option(min=1, help="How often the picture goes through [default: the model's].")
    ] = None,
    fill: Annotated[
        str | None,
        typer.Option(
            help="What the model sees in the hole: a number, mean, noise, harmonic or biharmonic [default: as in its "
            "training]."
        ),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="The model's whole output; else known pixels are put back.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Repeatable: threshold (white is what is brighter, of 1), view (pixels: the side at which the model "
            "sees a crop around a hole; 0: the whole picture as it is), dilate (grow the holes by so many pixels), "
            "feather (fade into the picture over so many pixels), tile (encode in tiles of so many pixels), "
            "mirror (average with the answer for the mirrored picture), margins (paint beyond the picture: "
            "[LEFT, TOP, RIGHT, BOTTOM] in pixels).",
        ),
    ] = None,
    *,
    outputs: Outputs,
) -> None:
    """Fill the holes of pictures.

    Grey, alpha, 16 bits, colour profiles and EXIF are kept. `accelerate launch -m implicitkit inpaint FOLDER MASKS`
    shares a folder between processes.
    """
    from implicitkit.config import apply_settings, validate
    from implicitkit_sair.cli.options import Inpaint

    rare = validate(Inpaint, apply_settings({}, settings or []), "--set")
    jobs = plan(image, mask, output, outputs, str(model or "default"))
    share = this_share()
    for job in share.of(jobs):  # what others write meanwhile is theirs
        if not outputs.is_done([job.target]):
            job.check(outputs.force)

    from implicitkit import load_model
    from implicitkit.devices import choose_device, choose_precision
    from implicitkit.images import Origin, read_picture
    from implicitkit_sair.inpainting.choice import inpaint_better
    from implicitkit_sair.inpainting.margins import extend
    from implicitkit_sair.inpainting.painting import SOLVERS, check_mask, check_painter, read_mask
    from implicitkit_sair.models import CANDIDATES, default_models

    filling = _parse_fill(fill)
    where = choose_device(share.device(device))
    if len(jobs) == 1:  # a bad single pair fails before a model is loaded
        holes = read_mask(jobs[0].mask, hole, rare.threshold)
        first, holes = extend(read_picture(jobs[0].source), holes, rare.margins)
        check_mask(first.rgb(), holes, f"the mask {jobs[0].mask}", dilate=rare.dilate)
    if model in SOLVERS and raw:
        raise UserError(f"--raw shows the whole output of a model; {model} has none")
    names = [model] if model else [*default_models(), *([] if raw else CANDIDATES)]
    painters = {name: name if name in SOLVERS else load_model(name).to(where) for name in names}
    for name, painter in painters.items():
        if not isinstance(painter, str) and model is None and painter.license:
            typer.echo(f"{name}: {painter.license}", err=True)
        check_painter(painter, name)

    def work(job: Job, report: Callable[[float], None]) -> str:
        job.check(outputs.force)  # another run may have come and gone
        holes = read_mask(job.mask, hole, rare.threshold)
        picture, holes = extend(read_picture(job.source), holes, rare.margins)
        missing = check_mask(picture.rgb(), holes, f"the mask {job.mask}", dilate=rare.dilate)
        number_format = choose_precision(precision, where, bits=picture.bits)
        how: dict[str, Any] = {"fill": filling, "passes": passes, "precision": number_format}
        how |= {"tile": rare.tile, "view": rare.view, "dilate": rare.dilate, "feather": rare.feather}
        how["mirror"] = rare.mirror
        result, why = inpaint_better(painters, picture, holes, raw=raw, **how)
        job.target.parent.mkdir(parents=True, exist_ok=True)
        origin = None if job.root is None else Origin(job.source, job.root)
        outputs.write(job.target, result, lossless=outputs.quality is None, origin=origin)
        size, share = "×".join(map(str, reversed(picture.size))), float(missing.double().mean())
        note = loss(job.target, picture.bits, quality=outputs.quality is not None)
        note += unseen(picture.alpha, missing) + (f"; {why}" if why else "")
        by = where if model in SOLVERS else f"{where}, {number_format}"
        return f"{job.source} {size}, {share:.1%} missing -> {job.target} ({by}{note})"

    run_each(
        jobs,
        work,
        "inpainting",
        into=[job.target.parent for job in jobs],
        is_done=lambda job: outputs.is_done([job.target]),
        share=share,
    )


@dataclass(frozen=True)
class Job:
    """A picture, its mask, and the file that it becomes."""

    source: Path
    mask: Path
    target: Path
    root: Path | None = None

    def check(self, force: bool) -> None:
        """Raise :class:`UserError` if the target is in the way or cannot be written."""
        from implicitkit.images import check_writable

        check_writable(self.target, (1, 1))
        check_target(self.target, force)


def plan(
    image: Path, mask: Path, output: Path, outputs: Outputs = DEFAULT_OUTPUTS, model: str = "default"
) -> list[Job]:
    """Which picture goes with which mask, and becomes which file.

    Pictures of a folder become PNG files of another, since known pixels are to stay exactly what they were.

    Raises:
        UserError: a file or a mask is missing, or an output would replace an input.
    """
    from implicitkit.images import WRITABLE

    many = image.is_dir()
    sources = find_pictures([image], _pictures_only, recursive=outputs.recursive, output=output)
    masks = {source: find_mask(source, place_in(mask, source, [image]), mask) for source in sources}
    if not many and not output.is_dir() and output.suffix:
        outputs.check_file(output)
        jobs = [Job(image, masks[image], output)]
    elif output.suffix.lower() in WRITABLE and not output.is_dir():
        raise UserError(f"the pictures of a folder cannot become the one file {output}; name a folder")
    else:
        jobs, digits = [], len(str(len(sources)))
        for number, source in enumerate(sources, start=1):
            fields = {"name": source.stem, "label": "inpainted", "model": Path(model).stem}
            name = outputs.file_name(source.stem, **fields, number=f"{number:0{digits}}")
            target = place_in(output, source, [image]) / f"{name}{outputs.suffix('.png')}"
            jobs.append(Job(source, masks[source], target, output))
    outputs.check_quality([job.target for job in jobs])
    refuse_clashes({job.source: [job.target] for job in jobs})
    originals = {job.mask.resolve() for job in jobs}
    for job in jobs:
        if job.target.resolve() in originals:
            raise UserError(f"{job.target} is a mask; choose another --output")
    return jobs


def loss(target: Path, bits: int, *, quality: bool) -> str:
    """What the format of ``target`` does to known pixels of so many ``bits``, for the line that says what was done.

    Args:
        target: the result's file.
        bits: of the picture's values.
        quality: whether WebP is written with a quality; else without loss.

    >>> loss(Path("x.jpg"), 8, quality=False), loss(Path("x.webp"), 16, quality=False)
    ('; JPEG changes known pixels a little', '; WebP keeps 8 of their 16 bits')
    """
    suffix = target.suffix.lower()
    name = {".jpg": "JPEG", ".jpeg": "JPEG", ".jfif": "JPEG", ".avif": "AVIF", ".webp": "WebP"}.get(suffix)
    if name is None or (name == "WebP" and not quality and bits == 8):
        return ""
    if name == "WebP" and not quality:
        return f"; {name} keeps 8 of their {bits} bits"
    return f"; {name} changes known pixels a little"


def unseen(alpha: NDArray[Any] | None, hole: Tensor) -> str:
    """How much of the hole ``(1, H, W)`` is transparent in the picture, for the line that says what was done: alpha is
    kept, so nothing shows there.

    >>> import numpy as np, torch
    >>> unseen(np.eye(2), torch.ones(1, 2, 2, dtype=torch.bool))
    '; 50.0% of the hole is transparent in the picture, and stays so'
    """
    if alpha is None or (hidden := alpha[hole[0].numpy()] == 0).mean() < LEAST_HIDDEN:
        return ""
    return f"; {hidden.mean():.1%} of the hole is transparent in the picture, and stays so"


def find_mask(source: Path, inside: Path, mask: Path) -> Path:
    """The mask of ``source``: ``mask`` itself, or in that folder the picture of its name, with ``_mask`` behind it or
    not; in the folder ``inside`` of it first, where pictures of folders in a folder have theirs.

    Raises:
        UserError: there is none, or more than one.
    """
    from implicitkit.images import pictures_in

    if not mask.exists():
        raise UserError(f"there is no file {mask}")
    if not mask.is_dir():
        return mask
    stems = (f"{source.stem}{MASK_SUFFIX}", source.stem)
    mask = inside if inside.is_dir() else mask
    candidates = [p for p in pictures_in(mask) if p.stem in stems and p.resolve() != source.resolve()]
    if len(candidates) != 1:
        names = ", ".join(p.name for p in candidates) or "none"
        raise UserError(f"{source.name} needs one mask in {mask}, called {stems[0]} or {stems[1]}; found {names}")
    return candidates[0]


def _pictures_only(found: list[Path]) -> list[Path]:
    """Without the masks and references that stand beside their pictures."""
    stems = {p.stem for p in found}
    companions = {stem + ending for stem in stems for ending in COMPANIONS}
    return [p for p in found if p.stem not in companions]


def _parse_fill(text: str | None) -> float | str | None:
    from implicitkit.images import FILLS

    if text is None or text in FILLS:
        return text
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise UserError(f"--fill is a number from 0 to 1, {', '.join(FILLS)}; received {text!r}")
    return value

"""``implicitkit degrade``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from implicitkit.cli.batch import run_each
from implicitkit.cli.inputs import check_target, find_pictures, place_in, refuse_clashes
from implicitkit.cli.pictures.options import Outputs, with_outputs
from implicitkit.cli.pictures.sharing import this_share
from implicitkit.create.notes import Note, notes_of_range
from implicitkit.errors import UserError
from implicitkit.files import parse_json, read_text

if TYPE_CHECKING:
    from torch import Tensor

    from implicitkit.degradations.base import Degradation, Degraded
    from implicitkit.images.folders import Origin
    from implicitkit.images.io import Picture

DEFAULT_OUTPUTS = Outputs()


@with_outputs
def degrade(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT", help="Pictures, or folders of pictures.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A file, or a folder for PNG files.")],
    spec: Annotated[
        str | None,
        typer.Option(
            help="A degradation's name, its settings as YAML or JSON (a list for a chain), or a file of them."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the random numbers; each input has its own.")] = 0,
    record: Annotated[Path | None, typer.Option(help="Replay a record that this command wrote.")] = None,
    reference: Annotated[bool, typer.Option(help="Write the clean picture, cropped to the degraded one, too.")] = False,
    *,
    outputs: Outputs,
) -> None:
    """Degrade pictures; write a mask and a record beside each.

    The mask is white where pixels are missing; the record holds the random numbers. Grey, 16 bits,
    the colour profile and EXIF stay; transparency is dropped.
    """
    if (spec is None) == (record is None):
        raise UserError("give either --spec, to draw, or --record, to replay")
    jobs = plan(inputs, output, outputs)
    share = this_share()
    for job in share.of(jobs):  # what others write meanwhile is theirs
        if not outputs.is_done(job.targets.all(reference)):
            job.targets.check(reference, outputs.force)

    from implicitkit.create import create_degradation
    from implicitkit.degradations.base import seeded
    from implicitkit.images.io import read_picture

    steps, replayed = read_record(record) if record is not None else (parse_spec(spec or ""), None)
    try:
        degradation = create_degradation(steps)
    except (UserError, TypeError, ValueError) as error:
        raise UserError(f"{record or '--spec'}: {error}") from error

    notes: list[Note] = []

    def work(job: Job, report: Callable[[float], None]) -> str:
        job.targets.check(reference, outputs.force)  # another run may have come and gone
        picture = read_picture(job.source)
        notes.extend(notes_of_range(job.source.name, picture))
        clean = picture.colour()
        if replayed is None:
            degraded = degradation(clean, seeded(seed, job.number))
        else:
            degraded = replay(degradation, clean, replayed)
        job.targets.write(degraded, picture, degradation.spec, reference, outputs, job.origin)
        inpaints = any("inpainting" in name for name in _names(degraded.record))
        missing = f", {float(degraded.mask.double().mean()):.1%} missing" if inpaints or degraded.mask.any() else ""
        return f"{job.source} -> {job.targets.picture} ({' then '.join(_names(degraded.record))}{missing})"

    run_each(
        jobs,
        work,
        "degrading",
        into=[job.targets.picture.parent for job in jobs],
        is_done=lambda job: outputs.is_done(job.targets.all(reference)),
        notes=notes,
        share=share,
    )


@dataclass(frozen=True)
class Targets:
    """The files that one input becomes."""

    picture: Path

    def beside(self, ending: str) -> Path:
        """``x_ENDING`` for ``x.png``."""
        return self.picture.with_name(f"{self.picture.stem}_{ending}")

    def check(self, reference: bool, force: bool) -> None:
        """Raise :class:`UserError` if a file exists or cannot be written."""
        from implicitkit.images.io import check_writable

        check_writable(self.picture, (1, 1))
        for target in self.all(reference):
            check_target(target, force)

    def write(
        self, result: Degraded, clean: Picture, spec: Any, reference: bool, outputs: Outputs, origin: Origin | None
    ) -> None:
        """Write all files or none."""
        from implicitkit.files import replacing
        from implicitkit.images.folders import Origin
        from implicitkit.images.io import Picture, check_writable, to_pixels, write_picture

        degraded = replace(clean, pixels=to_pixels(result.image, clean.bits), alpha=None)
        check_writable(self.picture, degraded.size)
        self.picture.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as all_or_none:
            picture, mask, record, *crop = (
                all_or_none.enter_context(replacing(target)) for target in self.all(reference)
            )
            outputs.write(picture, degraded)
            write_picture(mask, Picture(to_pixels(result.mask)))
            drawn = {"spec": from_anywhere(spec), "record": result.record}
            record.write_text(json.dumps(drawn, indent=2) + "\n", encoding="utf-8")
            if crop:
                outputs.write(crop[0], replace(clean, pixels=to_pixels(result.reference, clean.bits), alpha=None))
            companion = Origin(self.picture, self.picture.parent if origin is None else origin.root)
            for target, file in zip(self.all(reference), (picture, mask, record, *crop), strict=True):
                of = origin if file is picture else None if file is record else companion
                if of is not None:
                    of.recorder(target)(file)

    def all(self, reference: bool) -> list[Path]:
        """The degraded picture, its mask, its record and, with ``reference``, the cropped clean one."""
        clean = [self.beside(f"reference{self.picture.suffix}")] if reference else []
        return [self.picture, self.beside("mask.png"), self.beside("record.json"), *clean]


class Job(NamedTuple):
    """A picture, its output files, and its place among the inputs, which seeds its random numbers."""

    source: Path
    targets: Targets
    number: int
    root: Path | None = None

    @property
    def origin(self) -> Origin | None:
        """Where the degraded picture comes from; None where --output names its file."""
        from implicitkit.images.folders import Origin

        return None if self.root is None else Origin(self.source, self.root)


def plan(inputs: Sequence[Path], output: Path, outputs: Outputs = DEFAULT_OUTPUTS) -> list[Job]:
    """Plan the outputs: one picture may become the file ``output``; else it is a folder of PNG files.

    Raises:
        UserError: an input is missing, a folder holds no picture, or two outputs have one name.
    """
    from implicitkit.images.io import WRITABLE

    for given in inputs:
        if given.is_dir() and given.resolve() == output.resolve():
            raise UserError(f"{output} is the folder of the inputs; choose another --output")
    sources = find_pictures(inputs, recursive=outputs.recursive, output=output)
    many = len(sources) > 1 or inputs[0].is_dir()
    if output.suffix and not output.is_dir() and (not many or output.suffix.lower() in WRITABLE):
        if many:
            raise UserError(f"{len(sources)} pictures cannot become the one file {output}; name a folder")
        outputs.check_file(output)
        jobs = [Job(sources[0], Targets(output), 0)]
    else:
        suffix, digits = outputs.suffix(".png"), len(str(len(sources)))
        jobs = []
        for k, source in enumerate(sources):
            fields = {"name": source.stem, "label": "degraded", "model": "none", "number": f"{k + 1:0{digits}}"}
            name = outputs.file_name(source.stem, **fields)
            jobs.append(Job(source, Targets(place_in(output, source, inputs) / f"{name}{suffix}"), k, output))
    outputs.check_quality([job.targets.picture for job in jobs])
    refuse_clashes({job.source: job.targets.all(reference=True) for job in jobs})
    return jobs


def from_anywhere(spec: Any) -> Any:
    """The spec with absolute folders, so that the record replays from any directory."""
    if isinstance(spec, list):
        return [from_anywhere(step) for step in spec]
    return {key: str(Path(value).resolve()) if key == "folder" and value else value for key, value in spec.items()}


def parse_spec(text: str) -> Any:
    """The argument of ``create_degradation`` from a registered name, a file of YAML or JSON, or such text."""
    from implicitkit.config import parse
    from implicitkit.registry.kinds import degradations

    where = "--spec"
    if text not in degradations and not any(bracket in text for bracket in "{[\n"):
        path = Path(text)
        if path.exists() and not path.is_dir():
            where = text
            text = read_text(path)
        elif path.suffix.lower() in (".yaml", ".yml", ".json"):
            raise UserError(f"there is no file {path}")
    spec = parse(text, where)[0]  # YAML reads JSON too
    if not isinstance(spec, (str, dict, list)):
        raise UserError(f"{where} is a degradation's name, a mapping with a 'name', or a list; received {text!r}")
    return spec


def read_record(path: Path) -> tuple[Any, dict[str, Any]]:
    """The spec and the record in a file that this command wrote."""
    try:
        content = parse_json(read_text(path))
    except ValueError as error:
        raise UserError(f"{path} is not a record: {error}") from None
    match content:
        case {"spec": dict() | list() as spec, "record": dict() as record}:
            return spec, record
    raise UserError(f"{path} is not a record that `implicitkit degrade` wrote: it holds no spec and record")


def replay(degradation: Degradation, clean: Tensor, record: dict[str, Any]) -> Degraded:
    """``degradation.apply``, with one line for a record that does not fit the spec."""
    try:
        return degradation.apply(clean, record)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise UserError(f"the record does not fit its spec ({type(error).__name__}: {error})") from error


def _names(record: Any) -> list[str]:
    """The steps of a record: ``["blur gaussian", "jpeg"]``."""
    if "steps" in record:
        return [name for step in record["steps"] for name in _names(step)]
    return [" ".join(str(record[key]) for key in ("kind", "name") if key in record) or "degraded"]

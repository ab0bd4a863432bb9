"""Films in ``implicitkit upscale``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import typer

from implicitkit.cli.batch import run_each
from implicitkit.cli.inputs import check_target, refuse_clashes
from implicitkit.cli.pictures.options import Outputs
from implicitkit.cli.pictures.sharing import Share
from implicitkit.errors import UserError

if TYPE_CHECKING:
    from implicitkit.images.io import Picture
    from implicitkit.images.upscale import Enlargement

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")  # implicitkit.video's, known without importing it


class Job(NamedTuple):
    """A picture, or a film, and its output file."""

    source: Path
    target: Path
    root: Path | None = None
    """The folder of results; None where --output names the file."""


class Enlarger(Protocol):
    """What makes frames larger; that of the upscale command is one."""

    model: str
    how: Enlargement
    outputs: Outputs

    def enlarge(self, picture: Picture, size: tuple[int, int], whole: tuple[int, int] | None = None) -> Picture:
        """One picture at ``size`` ``(H, W)``, the middle of ``whole``."""

    @property
    def settings(self) -> str:
        """All that its pictures depend on."""


def is_clip(path: Path) -> bool:
    """Whether an input is a film, by its suffix."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def plan_clips(inputs: Sequence[Path], output: Path | None, label: str, outputs: Outputs, model: str) -> list[Job]:
    """Plan the outputs: the file ``output``, in the folder ``output``, or beside the film with ``label`` behind its
    name.

    Raises:
        UserError: a film is missing, pictures are among them, or an option is of pictures only.
    """
    for path in inputs:
        if not is_clip(path):
            raise UserError(f"{path} is no film, {next(filter(is_clip, inputs))} is; do pictures and films separately")
        if not path.exists():
            raise UserError(f"there is no file {path}")
    if outputs.format is not None:
        raise UserError("--format is of pictures; --output names a film, and its suffix the format")
    if output is not None and len(inputs) == 1 and output.suffix and not output.is_dir():
        outputs.check_file(output)
        jobs = [Job(inputs[0], output)]
    else:
        if output is not None and output.suffix.lower() in SUFFIXES:
            raise UserError(f"{len(inputs)} films cannot become the one file {output}; name a folder")
        jobs, digits = [], len(str(len(inputs)))
        for number, source in enumerate(inputs, start=1):
            usual = f"{source.stem}_{label}" if output is None else source.stem
            fields = {"name": source.stem, "label": label, "model": Path(model).stem, "number": f"{number:0{digits}}"}
            name = f"{outputs.file_name(usual, **fields)}{source.suffix.lower()}"
            jobs.append(Job(source, (output or source.parent) / name))
    refuse_clashes({job.source: [job.target] for job in jobs})
    for job in jobs:
        if not outputs.is_done([job.target]):
            check_target(job.target, outputs.force)
    return jobs


def run_clips(jobs: Sequence[Job], enlarger: Enlarger, share: Share) -> None:
    """Enlarge films, one after the other."""

    def work(job: Job, report: Callable[[float], None]) -> str:
        from implicitkit.video.reading import read_clip
        from implicitkit.video.writing import check_clip, even, make_clip

        check_clip(job.target)
        check_target(job.target, enlarger.outputs.force)
        clip = read_clip(job.source)
        size, whole = even(enlarger.how.of(clip.size)), even(enlarger.how.whole(clip.size))
        if clip.others:
            typer.echo(f"note: {job.source}: not copied: {', '.join(clip.others)}", err=True)
        job.target.parent.mkdir(parents=True, exist_ok=True)
        count = make_clip(
            clip,
            job.target,
            size,
            lambda picture: enlarger.enlarge(picture, size, whole),
            made_by=enlarger.settings,
            quality=enlarger.outputs.quality,
            keep_gps=enlarger.outputs.keep_gps,
            progress=report,
        )
        before, after = (f"{w}×{h}" for h, w in (clip.size, size))
        return f"{job.source} {before} -> {job.target} {after}, {count} frames"

    run_each(
        jobs,
        work,
        "upscaling",
        into=[job.target.parent for job in jobs],
        is_done=lambda job: enlarger.outputs.is_done([job.target]),
        share=share,
    )

"""``implicitkit upscale``."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from implicitkit.cli.batch import run_each
from implicitkit.cli.inputs import check_target, find_pictures, place_in, refuse_clashes
from implicitkit.cli.pictures.clips import Job, is_clip, plan_clips, run_clips
from implicitkit.cli.pictures.options import Outputs, OutputSize, check_hdr, with_outputs
from implicitkit.cli.pictures.scans import is_scan, plan_scans, run_scans
from implicitkit.cli.pictures.sharing import Share, this_share
from implicitkit.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch

    from implicitkit.create.notes import Note
    from implicitkit.images.io import Picture
    from implicitkit.images.upscale import Enlargement
    from implicitkit.model import ImplicitModel

DEFAULT_MODEL = "fast"
MIN_PIXELS_TO_ANNOUNCE = 3e6  # pixels, before and after, that are done before an estimate would pay
DEFAULT_OUTPUTS = Outputs()
MAX_TIMES_ENCODED = 4.0  # how often, on average, a pixel is encoded before --tile is worth a word


@with_outputs
def upscale(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT", help="Pictures, or folders of pictures.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A file, or a folder; by default beside the input.", show_default=False),
    ] = None,
    *,
    target: OutputSize,
    model: Annotated[
        str | None,
        typer.Option(help="A pretrained model's name, or a weight file [default: fast; of volumes: spline]."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    tile: Annotated[str, typer.Option(help="Side of the input tiles: auto, or a number of pixels.")] = "auto",
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="An option of the model's decoder; may be repeated.", show_default=False
        ),
    ] = None,
    hdr: Annotated[bool, typer.Option("--hdr", help="Keep values above 1 of EXR and float TIFF.")] = False,
    outputs: Outputs,
) -> None:
    """Upscale pictures, films, and volumes, to any size.

    Grey, alpha, 16 bits, colour profiles and EXIF are kept. Of a folder, all pictures but the results of earlier runs.
    `accelerate launch -m implicitkit upscale FOLDER` shares a folder between processes.
    """
    if any(map(is_scan, inputs)):
        only = {"--tile": tile != "auto", "--option": bool(option), "--hdr": hdr}
        run_scans(plan_scans(inputs, output, target, outputs, only), target, model, device, precision, outputs)
        return
    model = DEFAULT_MODEL if model is None else model
    how = target.enlargement()
    tile_side = _parse_tile(tile)
    films = any(map(is_clip, inputs))
    jobs = (plan_clips if films else plan)(inputs, output, how.label, outputs, model)
    if hdr:
        check_hdr([job.target for job in jobs])
    share = this_share()
    pending = [job for job in jobs if not outputs.is_done([job.target])]
    alone = len(jobs) == 1 and not inputs[0].is_dir()
    if alone and pending and not films:
        check_output(jobs[0].source, jobs[0].target, outputs.force)

    from implicitkit.create import load_model
    from implicitkit.decoders.options import parse_options
    from implicitkit.devices import choose_device
    from implicitkit.images.io import read_picture

    if len(pending) == 1 and not films:  # a bad file, or too large a result, fails before loading the model
        _check_memory(read_picture(pending[0].source), how)
    where = choose_device(share.device(device))
    network = load_model(model).to(where)
    if network.encoder.in_channels != 3 or network.decoder.out_channels != 3:
        raise UserError(f"{model} does not map RGB pictures to RGB pictures, so it cannot upscale")
    options = network.decoder.check_options(parse_options(option or []))

    enlarger = Enlarger(network, model, how, tile_side, precision, options, outputs, alone, hdr)
    if films:
        run_clips(jobs, enlarger, share)
        return
    sizes = _sizes(jobs, how)
    if share.is_first:
        _warn_of_tiles(network, tile_side)
        _announce(pending, sizes, enlarger.enlarge, share)
    run_each(
        jobs,
        enlarger.work,
        "upscaling",
        into=[job.target.parent for job in jobs],
        is_done=lambda job: outputs.is_done([job.target]),
        sizes=[_pixels(sizes[job]) for job in jobs],
        notes=enlarger.notes,
        share=share,
    )


@dataclass
class Enlarger:
    """A model and how it is to enlarge pictures.

    Attributes:
        network: the model, where it computes.
        model: what it is called.
        how: the sizes.
        tile: see :func:`implicitkit.images.upscale.upscale_picture`; so are ``precision`` and ``options``.
        outputs: how files are written.
        alone: whether there is one picture, of which notes are said at once.
        hdr: whether values above 1 are kept.
        notes: of many, what is to be said at the end.
    """

    network: ImplicitModel
    model: str
    how: Enlargement
    tile: int | str
    precision: str
    options: Mapping[str, Any]
    outputs: Outputs
    alone: bool
    hdr: bool = False
    notes: list[Note] = field(default_factory=list)

    def work(self, job: Job, report: Callable[[float], None]) -> str:
        """Enlarge one picture and write it; the line that says so."""
        from implicitkit.create.fitness import Request, judge
        from implicitkit.create.notes import notes_of_range
        from implicitkit.images.folders import Origin
        from implicitkit.images.io import check_writable, read_picture

        source, target = job.source, job.target
        check_output(source, target, self.outputs.force)
        picture = read_picture(source, hdr=self.hdr)
        size = self.how.of(picture.size)
        check_writable(target, size, alpha=picture.alpha is not None)
        request = Request.of(source, picture, self.how.whole(picture.size))
        self._say([*notes_of_range(source.name, picture), *judge(self.network, self.model, source.name, request)])
        result = self.enlarge(picture, size, self.how.whole(picture.size), report)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.outputs.write(target, result, origin=None if job.root is None else Origin(source, job.root))
        before, after = (f"{w}×{h}" for h, w in (picture.size, size))
        number_format, why = self._precision(picture)
        reason = f": {why}" if why else ""
        return f"{source} {before} -> {target} {after} ({self._device}, {number_format}{reason})"

    def enlarge(
        self,
        picture: Picture,
        size: tuple[int, int],
        whole: tuple[int, int] | None = None,
        report: Callable[[float], None] | None = None,
    ) -> Picture:
        """One picture at ``size`` ``(H, W)``, the middle of ``whole``."""
        from implicitkit.images.upscale import upscale_picture

        pixels = size[0] * size[1]
        return upscale_picture(
            self.network,
            picture,
            size,
            tile=self.tile,
            precision=self._precision(picture)[0],
            options=self.options,
            progress=None if report is None else lambda done: report(done / pixels),
            whole=whole,
        )

    @property
    def settings(self) -> str:
        """All that its pictures depend on."""
        file = Path(self.model)
        version = file.stat().st_mtime_ns if file.is_file() else ""
        return repr([self.model, version, str(self.how), self.tile, self.precision, dict(self.options)])

    def _say(self, notes: Sequence[Note]) -> None:
        from implicitkit.create.notes import summarise

        if not self.alone:
            self.notes.extend(notes)
            return
        for line in summarise(notes):
            typer.echo(line, err=True)

    def _precision(self, picture: Picture) -> tuple[str, str]:
        from implicitkit.devices import explain_precision

        return explain_precision(self.precision, self._device, bits=picture.bits)

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device


Sizes = tuple[tuple[int, int], tuple[int, int]]  # before and after, (H, W)


def _sizes(jobs: Sequence[Job], how: Enlargement) -> dict[Job, Sizes | None]:
    """The sizes of each picture by its header, as far as they are known before it is read."""
    from implicitkit.cli.pictures.forecast import picture_sizes

    sizes: dict[Job, Sizes | None] = {}
    for job, size in zip(jobs, picture_sizes([job.source for job in jobs]), strict=True):
        sizes[job] = None
        if size is not None and 0 not in size:
            with suppress(UserError):  # of another aspect; its turn will come
                sizes[job] = size, how.whole(size)
    return sizes


def _pixels(sizes: Sizes | None) -> float:
    """The work for a picture, by its pixels before and after."""
    return 1.0 if sizes is None else float(sum(h * w for h, w in sizes))


def _announce(
    pending: Sequence[Job],
    sizes: Mapping[Job, Sizes | None],
    enlarge: Callable[[Picture, tuple[int, int]], Picture],
    share: Share,
) -> None:
    """Say how long it takes, if that is long."""
    from implicitkit.cli.pictures.forecast import announce
    from implicitkit.images.io import read_picture

    known = [size for job in pending if (size := sizes[job]) is not None]
    if sum(map(_pixels, known)) < MIN_PIXELS_TO_ANNOUNCE:
        return
    with suppress(UserError, OSError, ValueError, RuntimeError, MemoryError):  # it will be said of the picture itself
        announce(read_picture(pending[0].source), known, enlarge, share.count)


def _check_memory(picture: Picture, how: Enlargement) -> None:
    """Raise :class:`UserError` unless the result has a size and fits the memory."""
    from implicitkit.images.upscale import check_memory

    size, channels = how.of(picture.size), picture.pixels.shape[2]
    check_memory(size, channels, picture.bits, alpha=picture.alpha is not None, before=picture.size)


def _warn_of_tiles(network: ImplicitModel, tile: int | str) -> None:
    """Say how much is computed twice where tiles are smaller than what the model sees around them."""
    if isinstance(tile, str) or network.sight is None:
        return
    times = ((tile + 2 * network.sight) / tile) ** 2
    if times > MAX_TIMES_ENCODED:
        typer.echo(
            f"note: a tile of {tile} pixels is read with {network.sight} around it, {times:.0f} times the work; "
            "larger ones, or auto, are faster and give the same picture",
            err=True,
        )


def plan(
    inputs: Sequence[Path], output: Path | None, label: str, outputs: Outputs = DEFAULT_OUTPUTS, model: str = "model"
) -> list[Job]:
    """Plan the outputs; several inputs, or a folder, go into a folder under their own names; beside its input, one gets
    ``label`` behind its name.

    Raises:
        UserError: an input is missing, a folder holds no picture, or two inputs have one output.
    """
    from implicitkit.images.io import WRITABLE

    sources = find_pictures(inputs, recursive=outputs.recursive, output=output)
    many = len(sources) > 1 or inputs[0].is_dir()
    if output is not None and not many and not output.is_dir() and output.suffix:
        outputs.check_file(output)
        outputs.check_quality([output])
        return [Job(sources[0], output)]
    if output is not None and output.suffix.lower() in WRITABLE and not output.is_dir():
        raise UserError(f"{len(sources)} pictures cannot become the one file {output}; name a folder")
    jobs, digits = [], len(str(len(sources)))
    for number, source in enumerate(sources, start=1):
        suffix = outputs.suffix(source.suffix if source.suffix.lower() in WRITABLE else ".png")
        folder = source.parent if output is None else place_in(output, source, inputs)
        beside = output is None or (folder.is_dir() and folder.resolve() == source.parent.resolve())
        usual = f"{source.stem}_{label}" if beside else source.stem
        fields = {"name": source.stem, "label": label, "model": Path(model).stem, "number": f"{number:0{digits}}"}
        jobs.append(Job(source, folder / f"{outputs.file_name(usual, **fields)}{suffix}", output or folder))
    refuse_clashes({job.source: [job.target] for job in jobs})
    outputs.check_quality([job.target for job in jobs])
    return jobs


def check_output(source: Path, target: Path, force: bool) -> None:
    """Raise :class:`UserError` if the target is the source, is in the way or cannot be written."""
    from implicitkit.images.io import check_writable

    check_writable(target, (1, 1))
    if target.exists() and target.resolve() == source.resolve():
        raise UserError(f"{target} is the input itself; choose another name")
    check_target(target, force)


def _parse_tile(tile: str) -> int | str:
    if tile == "auto":
        return tile
    if not tile.isdecimal() or int(tile) < 1:
        raise UserError(f"--tile is auto or a positive number of pixels; received {tile!r}")
    return int(tile)

"""``implicitkit upscale``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from implicitkit.cli.batch import run_each
from implicitkit.cli.inputs import check_target, find_pictures, parse_size, refuse_clashes, without_results
from implicitkit.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from implicitkit.images.upscale import Enlargement

DEFAULT_SCALE = 4.0
MAX_SCALE = 1e6


def upscale(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Pictures, or folders of pictures.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A file, or a folder; by default beside the input.", show_default=False),
    ] = None,
    scale: Annotated[float | None, typer.Option(help="Magnification, any positive number [default: 4].")] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Exact size in pixels: width first, such as 1920x1080.")
    ] = None,
    width: Annotated[int | None, typer.Option(help="Width; the height follows unless given.")] = None,
    height: Annotated[int | None, typer.Option(help="Height; the width follows unless given.")] = None,
    fit: Annotated[bool, typer.Option("--fit", help="Of another aspect: the largest size within the box.")] = False,
    crop: Annotated[bool, typer.Option("--crop", help="Of another aspect: fill the box, cut the centre.")] = False,
    stretch: Annotated[bool, typer.Option("--stretch", help="Of another aspect: distort the picture.")] = False,
    model: Annotated[str, typer.Option(help="A pretrained model's name, or a weight file.")] = "liif_small",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    tile: Annotated[str, typer.Option(help="Side of the input tiles: auto, or a number of pixels.")] = "auto",
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="An option of the model's decoder; may be repeated.", show_default=False
        ),
    ] = None,
    force: Annotated[bool, typer.Option(help="Overwrite existing files.")] = False,
) -> None:
    """Upscale pictures to any size: grey, alpha, 16 bits and colour profiles are kept."""
    how = _parse_size(scale, size, width, height, _parse_aspect(fit, crop, stretch))
    tile_side = _parse_tile(tile)
    jobs = plan(inputs, output, how)
    if len(jobs) == 1 and not inputs[0].is_dir():
        _check_target(*jobs[0], force)

    from implicitkit.create import load_model
    from implicitkit.decoders.options import parse_options
    from implicitkit.devices import choose_device, explain_precision
    from implicitkit.images.io import check_writable, read_picture, write_picture
    from implicitkit.images.upscale import upscale_picture

    first = read_picture(jobs[0].source) if len(jobs) == 1 else None  # a bad file fails before loading the model
    if first is not None:
        how.of(first.size)
    where = choose_device(device)
    network = load_model(model).to(where)
    if network.encoder.in_channels != 3 or network.decoder.out_channels != 3:
        raise UserError(f"{model} does not map RGB pictures to RGB pictures, so it cannot upscale")

    try:
        options = network.decoder.check_options(parse_options(option or []))
    except ValueError as error:
        raise UserError(str(error)) from None

    def work(job: Job, report: Callable[[float], None]) -> str:
        source, target = job
        _check_target(source, target, force)
        picture = first or read_picture(source)
        new_size = how.of(picture.size)
        check_writable(target, new_size, alpha=picture.alpha is not None)
        number_format, why = explain_precision(precision, where, bits=picture.bits)
        result = upscale_picture(
            network,
            picture,
            new_size,
            tile=tile_side,
            precision=number_format,
            options=options,
            progress=lambda done: report(done / (new_size[0] * new_size[1])),
            whole=how.whole(picture.size),
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        write_picture(target, result)
        before, after = (f"{w}×{h}" for h, w in (picture.size, new_size))
        reason = f": {why}" if why else ""
        return f"{source} {before} -> {target} {after} ({where}, {number_format}{reason})"

    run_each(jobs, work, "upscaling", into=[job.target.parent for job in jobs])


class Job(NamedTuple):
    """A picture and its output file."""

    source: Path
    target: Path


def plan(inputs: Sequence[Path], output: Path | None, how: Enlargement) -> list[Job]:
    """Plan the outputs; several inputs, or a folder, go into a folder under their own names.

    Raises:
        UserError: an input is missing, a folder holds no picture, or two inputs have one output.
    """
    from implicitkit.images.io import WRITABLE

    sources = find_pictures(inputs, without_results)
    many = len(sources) > 1 or inputs[0].is_dir()
    if output is not None and not many and not output.is_dir() and output.suffix:
        return [Job(sources[0], output)]
    if output is not None and output.suffix.lower() in WRITABLE and not output.is_dir():
        raise UserError(f"{len(sources)} pictures cannot become the one file {output}; name a folder")
    jobs = []
    for source in sources:
        suffix = source.suffix if source.suffix.lower() in WRITABLE else ".png"
        beside = output is None or (output.is_dir() and output.resolve() == source.parent.resolve())
        folder = source.parent if output is None else output
        name = f"{source.stem}_{how.label}{suffix}" if beside else f"{source.stem}{suffix}"
        jobs.append(Job(source, folder / name))
    refuse_clashes({source: [target] for source, target in jobs})
    return jobs


def _check_target(source: Path, target: Path, force: bool) -> None:
    from implicitkit.images.io import check_writable

    check_writable(target, (1, 1))
    if target.exists() and target.resolve() == source.resolve():
        raise UserError(f"{target} is the input itself; choose another name")
    check_target(target, force)


def _parse_aspect(fit: bool, crop: bool, stretch: bool) -> str | None:
    chosen = [name for name, value in (("fit", fit), ("crop", crop), ("stretch", stretch)) if value]
    if len(chosen) > 1:
        raise UserError(f"give one of --fit, --crop and --stretch; received {' and '.join(f'--{c}' for c in chosen)}")
    return chosen[0] if chosen else None


def _parse_size(
    scale: float | None, size: str | None, width: int | None, height: int | None, aspect: str | None
) -> Enlargement:
    """The output's size from the options."""
    from implicitkit.images.upscale import Enlargement

    ways = [scale is not None, size is not None, width is not None or height is not None]
    if sum(ways) > 1:
        raise UserError("give one of --scale, --size, or --width and --height")
    if size is not None:
        height, width = parse_size(size)
    for name, value in (("--width", width), ("--height", height)):
        if value is not None and value < 1:
            raise UserError(f"{name} is a positive number of pixels; received {value}")
    scale = DEFAULT_SCALE if scale is None else scale
    if not 0 < scale <= MAX_SCALE:
        raise UserError(f"--scale is a positive number up to {MAX_SCALE:g}; received {scale}")
    if aspect and not (height and width):
        raise UserError(f"--{aspect} goes with a box: --size, or --width and --height")
    return Enlargement(scale, height, width, aspect)


def _parse_tile(tile: str) -> int | str:
    if tile == "auto":
        return tile
    if not tile.isdecimal() or int(tile) < 1:
        raise UserError(f"--tile is auto or a positive number of pixels; received {tile!r}")
    return int(tile)

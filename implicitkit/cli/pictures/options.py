"""Options that commands on pictures share: each group is a table, read as one parameter."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from implicitkit.cli.inputs import parse_size
from implicitkit.errors import UserError

if TYPE_CHECKING:
    from implicitkit.images.folders import Origin
    from implicitkit.images.io import Picture
    from implicitkit.images.upscale import Enlargement

DEFAULT_SCALE = 4.0
MAX_SCALE = 1e6
FORMATS = {
    **{"png": ".png", "jpg": ".jpg", "jpeg": ".jpg", "webp": ".webp", "avif": ".avif"},
    **{"tif": ".tif", "tiff": ".tif", "exr": ".exr"},
}
LOSSY_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".webp", ".avif")
FIELD = re.compile(r"\{(\w*)\}")
NAME_FIELDS = ("name", "label", "model", "number")


@dataclass(frozen=True)
class Outputs:
    """Which pictures a command takes, and how it names and writes its results.

    A command has one parameter of this type and the decorator :func:`with_outputs`, and so all of these options.
    """

    format: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="Of the results: png, jpg, webp, avif, tif or exr."),
    ] = None
    quality: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="Of JPEG, WebP and AVIF, 1 to 100 [default: 95].", show_default=False),
    ] = None
    name: Annotated[
        str | None,
        typer.Option(
            metavar="TEMPLATE",
            help="Names of the results, of {name} (the input's), {label} (x4), {model} and {number}: '{name}-large'.",
        ),
    ] = None
    keep_gps: Annotated[
        bool, typer.Option("--keep-gps", help="Keep where a photograph was taken; else that alone is left out of it.")
    ] = False
    keep_text: Annotated[bool, typer.Option("--keep-text", help="Keep the texts in PNG files.")] = False
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Folders inside folders too.")] = False
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave out what is done already.")] = False
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False

    def __post_init__(self) -> None:
        if self.format is not None and self.format.lower().removeprefix(".") not in FORMATS:
            raise UserError(f"--format is png, jpg, webp, avif, tif or exr; received {self.format!r}")
        if self.skip_existing and self.force:
            raise UserError("give --skip-existing or --force, not both")
        if self.name is not None:
            check_template(self.name)

    def suffix(self, usual: str) -> str:
        """The suffix of a result: of ``--format``, or the ``usual`` one.

        >>> Outputs(format="JPEG").suffix(".png"), Outputs().suffix(".png")
        ('.jpg', '.png')
        """
        return usual if self.format is None else FORMATS[self.format.lower().removeprefix(".")]

    def file_name(self, usual: str, **values: object) -> str:
        """A result's name without suffix: by the template of ``--name``, or the ``usual`` one.

        >>> Outputs(name="{name}-{number}").file_name("cat_x4", name="cat", label="x4", model="m", number="03")
        'cat-03'
        """
        if self.name is None:
            return usual
        return FIELD.sub(lambda field: re.sub(r'[\\/:*?"<>|]', "_", str(values[field[1]])), self.name)

    def check_file(self, output: Path) -> None:
        """Raise :class:`UserError` where ``output`` is one file and an option contradicts its name."""
        if self.name is not None:
            raise UserError(f"--name names results in a folder; --output is the file {output}")
        if self.format is not None and FORMATS.get(output.suffix.lower().removeprefix(".")) != self.suffix(""):
            raise UserError(f"--format {self.format} contradicts --output {output}")

    def check_quality(self, targets: Sequence[Path]) -> None:
        """Raise :class:`UserError` if none of the ``targets`` has a quality."""
        if self.quality is not None and not any(target.suffix.lower() in LOSSY_SUFFIXES for target in targets):
            suffixes = ", ".join(sorted({target.suffix for target in targets}))
            raise UserError(
                f"--quality is of JPEG, WebP and AVIF; the results are {suffixes} (--format jpg makes JPEG)"
            )

    def write(
        self, path: Path, picture: Picture, *, lossless: bool | None = None, origin: Origin | None = None
    ) -> None:
        """Write a picture as the options say; see :func:`implicitkit.images.write_picture`.

        With its ``origin`` it is recorded as a result, which later runs on the folder do not take as an input.
        """
        from implicitkit.images.io import write_picture

        finish = None if origin is None else origin.recorder(path)
        kept = {"keep_gps": self.keep_gps, "keep_text": self.keep_text}
        write_picture(path, picture, lossless=lossless, quality=self.quality, finish=finish, **kept)

    def is_done(self, targets: Sequence[Path]) -> bool:
        """Whether a picture is left out, since its results are there."""
        return self.skip_existing and all(target.exists() for target in targets)


@dataclass(frozen=True)
class OutputSize:
    """How large a picture becomes: by a magnification, an exact size, or a box."""

    scale: Annotated[
        float | None, typer.Option("--scale", "-s", help="Magnification, any positive number [default: 4].")
    ] = None
    size: Annotated[
        str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Exact size in pixels: width first, such as 1920x1080.")
    ] = None
    width: Annotated[int | None, typer.Option(help="Width; the height follows unless given.")] = None
    height: Annotated[int | None, typer.Option(help="Height; the width follows unless given.")] = None
    fit: Annotated[bool, typer.Option("--fit", help="Of another aspect: the largest size within the box.")] = False
    crop: Annotated[bool, typer.Option("--crop", help="Of another aspect: fill the box, cut the centre.")] = False
    stretch: Annotated[bool, typer.Option("--stretch", help="Of another aspect: distort the picture.")] = False
    spacing: Annotated[
        str | None,
        typer.Option(metavar="MM", help="Of volumes: millimetres from voxel to voxel, 1 or 1x1x3 [default: cubes]."),
    ] = None

    def enlargement(self) -> Enlargement:
        """The size that the options say.

        Raises:
            UserError: they contradict each other, or are out of range.

        >>> OutputSize(scale=2.5).enlargement().of((10, 20))
        (25, 50)
        """
        from implicitkit.images.upscale import Enlargement

        if self.spacing is not None:
            raise UserError("--spacing is of volumes (.nii, .nii.gz); pictures take --scale, --size, --width, --height")
        aspects = [name for name in ("fit", "crop", "stretch") if getattr(self, name)]
        if len(aspects) > 1:
            chosen = " and ".join(f"--{aspect}" for aspect in aspects)
            raise UserError(f"give one of --fit, --crop and --stretch; received {chosen}")
        box = self.width is not None or self.height is not None
        if (self.scale is not None) + (self.size is not None) + box > 1:
            raise UserError("give one of --scale, --size, or --width and --height")
        height, width = (self.height, self.width) if self.size is None else parse_size(self.size)
        for name, value in (("--width", width), ("--height", height)):
            if value is not None and value < 1:
                raise UserError(f"{name} is a positive number of pixels; received {value}")
        scale = DEFAULT_SCALE if self.scale is None else self.scale
        if not 0 < scale <= MAX_SCALE:
            raise UserError(f"--scale is a positive number up to {MAX_SCALE:g}; received {scale}")
        if aspects and not (height and width):
            raise UserError(f"--{aspects[0]} goes with a box: --size, or --width and --height")
        return Enlargement(scale, height, width, aspects[0] if aspects else None)


def check_template(template: str) -> None:
    """Raise :class:`UserError` if a template of names has an unknown field, or is no name.

    >>> check_template("{name}_large")
    """
    names = FIELD.findall(template)
    unknown = [field for field in names if field not in NAME_FIELDS]
    braces = FIELD.sub("", template)
    if unknown or "{" in braces or "}" in braces:
        known = ", ".join(f"{{{field}}}" for field in NAME_FIELDS)
        raise UserError(f"--name takes {known}; received {template!r}")
    if not template.strip() or "/" in template or "\\" in template:
        raise UserError(f"--name is a file's name without folder and suffix; received {template!r}")
    if not {"name", "number"} & set(names):
        raise UserError(
            f"--name needs {{name}} or {{number}}, or all results would have one name; received {template!r}"
        )


def check_hdr(targets: Sequence[Path]) -> None:
    """Raise :class:`UserError` if a target holds no values above 1."""
    from implicitkit.images.io import FLOAT_SUFFIXES

    for target in targets:
        if target.suffix.lower() not in FLOAT_SUFFIXES:
            raise UserError(f"--hdr keeps values above 1, which {' and '.join(FLOAT_SUFFIXES)} hold; {target} does not")


def with_outputs(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with the options of a table, such as :class:`Outputs`, in place of each parameter of that type."""
    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command)
    groups = {name: hints[name] for name in signature.parameters if is_dataclass(hints[name])}
    parameters: list[inspect.Parameter] = []
    for name, own in signature.parameters.items():
        if name not in groups:
            parameters.append(own.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name]))
            continue
        of_fields = get_type_hints(groups[name], include_extras=True)
        parameters += [
            inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=of_fields[f.name])
            for f in fields(groups[name])
        ]

    @wraps(command)
    def run(**given: Any) -> Any:
        tables = {name: table(**{f.name: given.pop(f.name) for f in fields(table)}) for name, table in groups.items()}
        return command(**given, **tables)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run

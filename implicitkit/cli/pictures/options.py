"""The options of every command that writes pictures: one table, read as one parameter."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from implicitkit.errors import UserError

FORMATS = {"png": ".png", "jpg": ".jpg", "jpeg": ".jpg", "webp": ".webp", "tif": ".tif", "tiff": ".tif"}
LOSSY = (".jpg", ".jpeg", ".webp")
FIELD = re.compile(r"\{(\w*)\}")
NAME_FIELDS = ("name", "label", "model", "number")


@dataclass(frozen=True)
class Outputs:
    """Which pictures a command takes, and how it names and writes its results.

    A command has one parameter of this type and the decorator :func:`with_outputs`, and so all of these options.
    """

    format: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="Of the results: png, jpg, webp or tif."),
    ] = None
    quality: Annotated[
        int | None, typer.Option(min=1, max=100, help="Of JPEG and WebP, 1 to 100 [default: 95].", show_default=False)
    ] = None
    name: Annotated[
        str | None,
        typer.Option(
            metavar="TEMPLATE",
            help="Names of the results, of {name} (the input's), {label} (x4), {model} and {number}: '{name}-large'.",
        ),
    ] = None
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Folders inside folders too.")] = False
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave out what is done already.")] = False
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False

    def __post_init__(self) -> None:
        if self.format is not None and self.format.lower().removeprefix(".") not in FORMATS:
            raise UserError(f"--format is png, jpg, webp or tif; received {self.format!r}")
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
        return FIELD.sub(lambda found: re.sub(r'[\\/:*?"<>|]', "_", str(values[found[1]])), self.name)

    def check_file(self, output: Path) -> None:
        """Raise :class:`UserError` where ``output`` is one file and an option contradicts its name."""
        if self.name is not None:
            raise UserError(f"--name names results in a folder; --output is the file {output}")
        if self.format is not None and FORMATS.get(output.suffix.lower().removeprefix(".")) != self.suffix(""):
            raise UserError(f"--format {self.format} contradicts --output {output}")

    def check_quality(self, targets: Sequence[Path]) -> None:
        """Raise :class:`UserError` if none of the ``targets`` has a quality."""
        if self.quality is not None and not any(target.suffix.lower() in LOSSY for target in targets):
            suffixes = ", ".join(sorted({target.suffix for target in targets}))
            raise UserError(f"--quality is of JPEG and WebP; the results are {suffixes} (--format jpg makes JPEG)")

    def is_done(self, targets: Sequence[Path]) -> bool:
        """Whether a picture is left out, since its results are there."""
        return self.skip_existing and all(target.exists() for target in targets)


def check_template(template: str) -> None:
    """Raise :class:`UserError` if a template of names has an unknown field, or is no name.

    >>> check_template("{name}_large")
    """
    found = FIELD.findall(template)
    unknown = [field for field in found if field not in NAME_FIELDS]
    braces = FIELD.sub("", template)
    if unknown or "{" in braces or "}" in braces:
        known = ", ".join(f"{{{field}}}" for field in NAME_FIELDS)
        raise UserError(f"--name takes {known}; received {template!r}")
    if not template.strip() or "/" in template or "\\" in template:
        raise UserError(f"--name is a file's name without folder and suffix; received {template!r}")
    if not {"name", "number"} & set(found):
        raise UserError(
            f"--name needs {{name}} or {{number}}, or all results would have one name; received {template!r}"
        )


def with_outputs(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with the options of :class:`Outputs` in place of its parameter of that type."""
    hints = get_type_hints(Outputs, include_extras=True)
    signature = inspect.signature(command)
    (place,) = [name for name, p in signature.parameters.items() if p.annotation in (Outputs, "Outputs")]
    own = {name: p for name, p in signature.parameters.items() if name != place}
    shared = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name])
        for f in fields(Outputs)
    ]

    @wraps(command)
    def run(**given: Any) -> Any:
        outputs = Outputs(**{f.name: given.pop(f.name) for f in fields(Outputs)})
        return command(**given, **{place: outputs})

    commands_own = get_type_hints(command, include_extras=True)
    keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=commands_own[name]) for name, p in own.items()]
    run.__signature__ = signature.replace(parameters=[*keyword, *shared])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in [*keyword, *shared]}
    return run

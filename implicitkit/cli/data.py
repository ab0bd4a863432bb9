"""``implicitkit data``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from implicitkit.datasets.check import FolderReport

data = typer.Typer(help="Look at pictures before training on them.", no_args_is_help=True)
MAX_SHOWN = 5  # of a list, without --all


@data.callback()
def group() -> None:
    """Look at pictures before training on them."""


@data.command()
def check(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders, searched recursively.")],
    against: Annotated[
        list[Path] | None, typer.Option("--against", help="A test set that must not be trained on; repeatable.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Print whole lists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Count pictures; find what is unreadable, there twice, or in a test set (exit code 1)."""
    from implicitkit.cli.progress import bar
    from implicitkit.datasets.check import check_folders
    from implicitkit.images.folders import picture_files

    total = len(picture_files(folders)) + (len(picture_files(against)) if against else 0)
    with bar("reading", total) as progress:
        report = check_folders(folders, against or [], lambda done: progress.update(done, ""))
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=2))
    else:
        for line in lines_of(report, bool(against), None if everything else MAX_SHOWN):
            typer.echo(line)
    if not report.clean:
        raise typer.Exit(1)


def lines_of(report: FolderReport, compared: bool, shown: int | None) -> list[str]:
    """The report as text; of a list, the first ``shown``."""
    lines = [f"{len(report.files)} pictures, {len(report.unreadable)} cannot be read"]
    if report.sizes:
        pixels = sorted(report.sizes, key=lambda size: size[0] * size[1])
        named = {"smallest": pixels[0], "median": pixels[len(pixels) // 2], "largest": pixels[-1]}
        lines.append("; ".join(f"{name} {w}×{h}" for name, (h, w) in named.items()))
        lines.append(f"shortest side: {min(min(size) for size in report.sizes)} pixels")
    lists = {
        "cannot be read": [f"{file}: {why}" for file, why in report.unreadable.items()],
        "with the same pixels": [" = ".join(map(str, group)) for group in report.duplicates],
        "look the same (saved again, or resized)": [f"{a} ~ {b}" for a, b in report.alike],
        "look like one of the test set": [f"{a} ~ {b}" for a, b in report.overlap],
    }
    for title, entries in lists.items():
        if entries:
            lines.append(f"{title}: {len(entries)}")
            lines += [f"  {entry}" for entry in entries[:shown]]
            if shown is not None and len(entries) > shown:
                lines.append(f"  ... and {len(entries) - shown} more (--all)")
    if compared and not report.overlap:
        lines.append("nothing looks like a picture of the test set")
    return lines

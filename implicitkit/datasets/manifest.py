"""Files named in a list, or in a table of inputs, targets and masks."""

from __future__ import annotations

import csv
from pathlib import Path

from implicitkit.datasets.base import Dataset, Files
from implicitkit.datasets.paired import PairedFiles
from implicitkit.errors import DataError
from implicitkit.files import read_text

COLUMNS = ("input", "target", "mask")
MAX_CHARACTERS = 50_000_000


def manifest(file: Path, root: Path | None = None) -> Dataset:
    """The pictures that a file names: a text file with a path a line, or a ``.csv`` with a column ``target``, and with
    ``input`` (and ``mask``) for pairs. Empty lines and those that begin with # are left out.

    Args:
        file: the list or table.
        root: where relative paths begin (default: the file's folder).

    Raises:
        DataError: it names nothing, a column is missing or unknown, or a picture is not there.
    """
    file = Path(file).expanduser()
    start = file.parent if root is None else Path(root).expanduser()
    lines = read_text(file, MAX_CHARACTERS).splitlines()
    lines = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if file.suffix.lower() != ".csv":
        return Files(_existing([line.strip() for line in lines], start, file))
    table = csv.DictReader(lines)
    columns = [column.strip() for column in table.fieldnames or ()]
    table.fieldnames = columns
    if "target" not in columns or set(columns) - set(COLUMNS):
        raise DataError(
            f"{file}: the first line of a table names its columns: target, and for pairs input, with mask or not; "
            f"received {', '.join(columns) or 'nothing'}"
        )
    rows = list(table)
    if any(None in row or None in row.values() for row in rows):
        raise DataError(f"{file}: a line has more or fewer entries than the {len(columns)} columns")
    of = {column: _existing([row[column].strip() for row in rows], start, file) for column in columns}
    if "input" not in columns:
        return Files(of["target"])
    return PairedFiles(of["input"], of["target"], of.get("mask"))


def _existing(paths: list[str], start: Path, file: Path) -> list[Path]:
    files = [start / path for path in paths]
    if not files:
        raise DataError(f"{file} names no pictures")
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise DataError(f"{file} names {missing[0]}, which is not there ({len(missing)} of {len(files)} are missing)")
    return files

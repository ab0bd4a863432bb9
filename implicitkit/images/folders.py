"""The picture files of folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from implicitkit.errors import DataError
from implicitkit.images.io import READABLE


def pictures_in(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The picture files of a folder, sorted, without hidden ones."""
    paths = folder.rglob("*") if recursive else folder.iterdir()
    return sorted(p for p in paths if p.suffix.lower() in READABLE and not p.name.startswith(".") and p.is_file())


def picture_files(folders: Sequence[Path | str]) -> list[Path]:
    """All picture files under ``folders``, sorted by path, each once.

    Raises:
        DataError: a folder is missing or holds no picture.
    """
    files: list[Path] = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise DataError(f"there is no folder {folder}")
        inside = pictures_in(folder, recursive=True)
        if not inside:
            raise DataError(f"{folder} holds no pictures ({', '.join(READABLE)})")
        files += inside
    return list({file.resolve(): file for file in files}.values())  # folders may overlap

"""The picture files of folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from implicitkit.errors import DataError
from implicitkit.images.io import READABLE, pictures_in


def picture_files(folders: Sequence[Path | str]) -> list[Path]:
    """All picture files under ``folders``, sorted by path; a file that two folders share is listed once.

    Raises:
        DataError: a folder is missing or holds no picture.

    Example:
        >>> picture_files(["no/such/folder"])
        Traceback (most recent call last):
        implicitkit.errors.DataError: there is no folder no/such/folder
    """
    files: list[Path] = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise DataError(f"there is no folder {folder}")
        inside = pictures_in(folder, recursive=True)
        if not inside:
            raise DataError(f"{folder} holds no pictures ({', '.join(READABLE)})")
        files += inside
    return list({file.resolve(): file for file in files}.values())

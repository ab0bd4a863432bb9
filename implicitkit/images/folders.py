"""The picture files of folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from implicitkit.errors import DataError
from implicitkit.images.io import READABLE

WASTE = frozenset(  # folders that systems hide by other means than a full stop, in lower case
    (
        "__macosx",
        "$recycle.bin",
        "recycler",
        "system volume information",
        "lost+found",
        "@eadir",
        "#recycle",
        "#snapshot",
    )
)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden, a waste basket or a store of thumbnails.

    >>> is_hidden(".ipynb_checkpoints"), is_hidden("$RECYCLE.BIN"), is_hidden("train")
    (True, True, False)
    """
    return name.startswith(".") or name.casefold() in WASTE


def pictures_in(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The picture files of a folder, sorted. What is hidden is left out, and what is in hidden folders, where notebooks
    and waste baskets keep copies; links are followed.
    """
    found, walked = [], set()
    for here, folders, files in os.walk(folder, followlinks=True):
        walked.add(Path(here).resolve())
        inside = (Path(here, name) for name in folders if recursive and not is_hidden(name))
        folders[:] = [path.name for path in inside if path.resolve() not in walked]  # no link leads round in a circle
        found += [Path(here, name) for name in files if not name.startswith(".")]
    return sorted(p for p in found if p.suffix.lower() in READABLE and p.is_file())


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

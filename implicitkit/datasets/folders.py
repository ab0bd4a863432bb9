"""All pictures under some folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from implicitkit.datasets.base import Files
from implicitkit.images.folders import picture_files


class Folders(Files):
    """All pictures under some folders, searched recursively, sorted by path.

    Args:
        folders: their paths; ``data.folders`` of a configuration is short for this dataset.

    Raises:
        DataError: a folder is missing or holds no picture.

    >>> from implicitkit.files import ASSETS
    >>> Folders([ASSETS]).names[0].endswith("astronaut.png")
    True
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        super().__init__(picture_files([Path(folder).expanduser() for folder in folders]))

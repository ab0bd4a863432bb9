"""Encoded stretches of a film, kept beside the result until it is whole, so that an interrupted run goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from implicitkit.errors import UserError
from implicitkit.files import replacing, write_json

STATE = "state.json"


class Piece(NamedTuple):
    """An encoded frame: its time and duration in the film's units, whether decoding may begin there, its bytes."""

    time: int
    duration: int
    is_key: bool
    content: bytes


class Segments:
    """The folder ``NAME.parts`` of a result: what it is made of, and a file for each finished stretch.

    A stretch is renamed into its place when it is whole. A folder that was made of something else (another source,
    size, model or encoder) is begun anew.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     parts = Segments(Path(folder) / "film.mp4", {"size": [4, 6]})
    ...     parts.write(0, [Piece(0, 1, True, b"frame")])
    ...     Segments(Path(folder) / "film.mp4", {"size": [4, 6]}).finished, parts.read(0)
    (1, [Piece(time=0, duration=1, is_key=True, content=b'frame')])
    """

    def __init__(self, target: Path, made_of: Mapping[str, Any]) -> None:
        self.folder = target.with_name(f"{target.name}.parts")
        state = json.loads(json.dumps(made_of))
        if self._state() != state:
            if self.folder.exists() and not (self.folder / STATE).is_file():
                raise UserError(f"{self.folder} is in the way; move it, parts of the film are kept there meanwhile")
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            write_json(self.folder / STATE, state)

    @property
    def finished(self) -> int:
        """How many stretches are there, from the first on without a gap."""
        count = 0
        while self._file(count).is_file():
            count += 1
        return count

    def write(self, number: int, pieces: list[Piece]) -> None:
        """Keep a whole stretch."""
        index = json.dumps([[piece.time, piece.duration, piece.is_key, len(piece.content)] for piece in pieces])
        with replacing(self._file(number)) as temporary, temporary.open("wb") as file:
            file.write(index.encode() + b"\n")
            for piece in pieces:
                file.write(piece.content)

    def read(self, number: int) -> list[Piece]:
        """A stretch as it was written."""
        with self._file(number).open("rb") as file:
            index = json.loads(file.readline())
            return [Piece(time, duration, is_key, file.read(length)) for time, duration, is_key, length in index]

    def remove(self) -> None:
        """The film is whole."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06}.frames"

    def _state(self) -> Any:
        try:
            return json.loads((self.folder / STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

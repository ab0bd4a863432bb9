"""Stretches are whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from implicitkit.video.segments import Piece, Segments


def test_stretches_come_back_as_they_were(tmp_path: Path) -> None:
    parts = Segments(tmp_path / "a.mp4", {"size": (4, 6)})
    stretch = [Piece(0, 2, True, b"one\ntwo"), Piece(2, 0, False, b"")]
    parts.write(0, stretch)
    parts.write(2, stretch)  # behind a gap
    assert parts.read(0) == stretch and Segments(tmp_path / "a.mp4", {"size": (4, 6)}).finished == 1
    assert Segments(tmp_path / "a.mp4", {"size": (4, 8)}).finished == 0


def test_a_stretch_that_fails_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Segments(tmp_path / "a.mp4", {})
    with pytest.raises(TypeError):
        parts.write(0, [Piece(0, 1, True, "text")])
    assert parts.finished == 0
    parts.remove()
    assert not parts.folder.exists()

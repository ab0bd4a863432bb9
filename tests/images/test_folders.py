"""Which files of a folder are pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

import implicitkit as ik
from implicitkit.images.folders import picture_files, pictures_in


def test_empty_and_missing_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ik.DataError, match="holds no pictures"):
        picture_files([tmp_path])
    with pytest.raises(ik.DataError, match="there is no folder"):
        picture_files([tmp_path / "x"])


def test_files_are_sorted_hidden_ones_left_out_and_named_once(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.png", "a.JPG", "notes.txt", ".a.png", "sub/c.tif"):
        (tmp_path / name).touch()
    assert [p.name for p in pictures_in(tmp_path)] == ["a.JPG", "b.png"]
    assert [p.name for p in pictures_in(tmp_path, recursive=True)] == ["a.JPG", "b.png", "c.tif"]
    assert [p.name for p in picture_files([tmp_path / "sub", tmp_path])] == ["c.tif", "a.JPG", "b.png"]

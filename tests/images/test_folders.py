"""Which files of a folder are pictures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import implicitkit as ik
from implicitkit.errors import DataError
from implicitkit.images.folders import picture_files, pictures_in


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ik.write_image(path, torch.zeros(3, 2, 2))
    return path


def test_hidden_folders_are_left_out_and_links_followed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    own = picture(data / "b" / "own.png")
    for hidden in (".ipynb_checkpoints", ".Trash-1000/files"):
        picture(data / hidden / "copy.png")
    picture(data / "b" / ".hidden.png")
    elsewhere = picture(tmp_path / "elsewhere" / "far.png")
    (data / "linked").symlink_to(elsewhere.parent)
    (data / "b" / "round").symlink_to(data)  # a circle
    assert pictures_in(data, recursive=True) == [own, data / "linked" / "far.png"]
    assert pictures_in(data / "b") == [own]
    assert picture_files([data, elsewhere.parent]) == [own, elsewhere]  # a picture that two paths lead to is there once


def test_a_hidden_folder_that_is_named_is_meant(tmp_path: Path) -> None:
    inside = picture(tmp_path / ".mine" / "a.png")
    assert picture_files([tmp_path / ".mine"]) == [inside]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ik.DataError, match="there is no folder"):
        picture_files([tmp_path / "none"])
    with pytest.raises(ik.DataError, match="holds no pictures"):
        picture_files([tmp_path])


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


def test_waste_baskets_and_thumbnails_of_other_systems_are_left_out(tmp_path: Path) -> None:
    for folder in ("kept", "__MACOSX", "$RECYCLE.BIN", "@eaDir", "lost+found", "System Volume Information"):
        picture(tmp_path / folder / "a.png")
    assert picture_files([tmp_path]) == [tmp_path / "kept" / "a.png"]


def test_links_to_nothing_and_pipes_are_left_out_and_said(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").symlink_to("/no/such/drive/b.png")
    os.mkfifo(tmp_path / "c.png")
    words = r"left out of .*: 2 pictures that cannot be reached, such as b.png \(links to nothing, pipes\)"
    with pytest.warns(UserWarning, match=words):
        assert pictures_in(tmp_path) == [tmp_path / "a.png"]


def test_an_address_is_no_folder() -> None:
    with pytest.raises(DataError, match="^https://x.org/set is an address, not a folder; download it first$"):
        picture_files(["https://x.org/set"])

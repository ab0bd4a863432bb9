from pathlib import Path

import pytest
import torch

import implicitkit as ik
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

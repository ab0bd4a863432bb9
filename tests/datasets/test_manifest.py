"""Files named in a list or a table."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import implicitkit as ik


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "m.png"):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / name)
    return tmp_path


def test_a_list_names_files_beside_it(folder: Path) -> None:
    (folder / "list.txt").write_text("# train\na.png\n\nb.png\n")
    assert len(ik.create_dataset("manifest", file=str(folder / "list.txt"))) == 2


def test_a_table_names_pairs(folder: Path) -> None:
    (folder / "t.csv").write_text("input,target,mask\na.png,b.png,m.png\n")
    dataset = ik.create_dataset("manifest", file=str(folder / "t.csv"))
    assert dataset.paired and dataset.pair(0).mask is not None
    (folder / "t.csv").write_text("target\nb.png\n")
    assert not ik.create_dataset("manifest", file=str(folder / "t.csv"), root=str(folder)).paired


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.txt", "a.png\nnowhere.png\n", r"names .*nowhere\.png, which is not there \(1 of 2 are missing\)"),
        ("l.txt", "# nothing\n", "names no pictures"),
        ("l.csv", "picture\na.png\n", "its columns: target, .*received picture"),
        ("l.csv", "input,target\na.png\n", "more or fewer entries than the 2 columns"),
    ],
)
def test_what_is_wrong_in_it_is_said(folder: Path, name: str, text: str, message: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(ik.DataError, match=message):
        ik.create_dataset("manifest", file=str(folder / name))

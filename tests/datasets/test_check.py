"""What `implicitkit data check` finds."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from implicitkit.datasets.check import check_folders
from oracles import PHOTOS


def test_what_is_unreadable_there_twice_or_in_the_test_set_is_found(tmp_path: Path) -> None:
    train, test = tmp_path / "train", tmp_path / "test"
    train.mkdir()
    test.mkdir()
    first, second = sorted(PHOTOS.glob("*.png"))[:2]
    shutil.copy(first, train / "a.png")
    shutil.copy(first, train / "b.png")
    shutil.copy(second, train / "c.png")
    with Image.open(second) as picture:
        half = picture.convert("RGB").resize((picture.width // 2, picture.height // 2))
    half.save(test / "shrunk.jpg", quality=60)
    (train / "d.png").write_text("no picture")
    report = check_folders([train], [test])
    assert len(report.files) == 4 and len(report.sizes) == 3
    assert [file.name for file in report.unreadable] == ["d.png"]
    assert [[file.name for file in group] for group in report.duplicates] == [["a.png", "b.png"]]
    assert [(a.name, b.name) for a, b in report.overlap] == [("c.png", "shrunk.jpg")]
    assert not report.alike and not report.clean
    shutil.move(test / "shrunk.jpg", train / "shrunk.jpg")
    assert [(a.name, b.name) for a, b in check_folders([train]).alike] == [("c.png", "shrunk.jpg")]


def test_flat_and_tiny_pictures_are_no_duplicates(tmp_path: Path) -> None:
    for k, side in enumerate((1, 9, 40)):
        Image.fromarray(np.full((side, side, 3), 10 * k, np.uint8)).save(tmp_path / f"{k}.png")
    assert check_folders([tmp_path]).clean

"""Pictures cut into squares."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import implicitkit as ik
from implicitkit.images.squares import cut_squares
from oracles import PHOTOS


def test_squares_cover_each_picture_once(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    picture = ik.read_image(PHOTOS / "chelsea.png")[:, :133, :200]
    ik.write_image(folder / "cat.png", picture)
    cut_squares([folder], tmp_path / "squares", side=64, test_every=4)
    found = {p.stem: p for p in (tmp_path / "squares").rglob("*.png")}
    corners = [(top, left) for top in (2, 66) for left in (4, 68, 132)]  # 5 rows and 8 columns are left over
    assert set(found) == {f"cat_{top}_{left}" for top, left in corners}
    for k, (top, left) in enumerate(corners, start=1):
        file = found[f"cat_{top}_{left}"]
        assert file.parent.name == ("test" if k == 4 else "train")
        assert torch.equal(ik.read_image(file), picture[:, top : top + 64, left : left + 64])


def test_too_few_squares_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(ik.UserError, match=r"give 0 squares of 4000 pixels.*make side smaller"):
        cut_squares([PHOTOS], tmp_path / "squares", side=4000, test_every=5)
    assert not any(tmp_path.iterdir())
    with pytest.raises(ik.DataError, match="there is no folder"):
        cut_squares(["nowhere"], tmp_path / "squares", side=64, test_every=5)

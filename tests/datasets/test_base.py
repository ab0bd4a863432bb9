"""Datasets: what is taken as a picture, and as a pair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import implicitkit as ik
from implicitkit.datasets.base import Files, Part, as_dataset, as_pixels, checked_pair
from oracles import PHOTOS

GREY = np.full((6, 7), 51, np.uint8)


@pytest.mark.parametrize(
    "picture",
    [
        GREY,
        np.repeat(GREY[..., None], 3, axis=2),
        Image.fromarray(GREY),
        Image.fromarray(GREY).convert("RGBA"),
        torch.full((3, 6, 7), 0.2),
        torch.full((1, 6, 7), 0.2),
    ],
)
def test_every_usual_kind_of_picture_is_taken(picture: Any) -> None:
    pixels = as_pixels(picture, "it")
    assert pixels.shape == (6, 7, 3) and pixels.dtype == np.uint8 and (pixels == 51).all()


@pytest.mark.parametrize(
    "picture", [torch.zeros(6, 7, 3), torch.zeros(3, 4, 4, dtype=torch.uint8), np.zeros((4, 4)), 3]
)
def test_what_is_no_picture_is_named(picture: Any) -> None:
    with pytest.raises(ik.ImageError, match=r"the third: a picture is a tensor \(3, H, W\) in \[0, 1\]"):
        as_pixels(picture, "the third")


def test_items_are_pictures_tuples_or_mappings() -> None:
    picture = torch.rand(3, 8, 9)
    for items in ([picture], [(picture, 4)], [{"image": picture, "label": 4}]):
        assert np.array_equal(as_dataset(items)[0], as_pixels(picture, ""))
    pairs = as_dataset([{"input": picture, "target": torch.rand(3, 16, 18), "mask": torch.ones(1, 8, 9)}])
    assert pairs.paired and pairs.pair(0).scale == 2
    mask = pairs.pair(0).mask
    assert mask is not None and mask.shape == (8, 9) and (mask == 255).all()
    with pytest.raises(ik.DataError, match="has no 'image'; it has 'photo'"):
        as_dataset([{"photo": picture}])
    for nothing in ([], 5, {"a": 1}, "folder"):
        with pytest.raises(ik.DataError):
            as_dataset(nothing)


def test_a_target_is_a_whole_number_of_times_as_large() -> None:
    small, large = np.zeros((5, 6, 3), np.uint8), np.zeros((16, 19, 3), np.uint8)
    assert checked_pair(small, large, None, "it").target.shape == (15, 18, 3)
    with pytest.raises(ik.DataError, match="an input of 6×5 and a target of 19×10"):
        checked_pair(small, large[:10], None, "it")
    with pytest.raises(ik.DataError, match="a mask has its input's size, 6×5; received 4×5"):
        checked_pair(small, large, np.zeros((5, 4), np.uint8), "it")


def test_a_part_keeps_names_and_files() -> None:
    files = sorted(PHOTOS.glob("*.png"))
    part = Part(Files(files), [1])
    assert len(part) == 1 and part.file(0) == files[1] and part.names == [str(files[1])]
    assert isinstance(as_dataset([str(f) for f in files]), Files) and Path(part.names[0]).is_file()

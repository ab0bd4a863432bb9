"""Values that cannot be meant are refused, and masks of every kind read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import implicitkit as ik
from implicitkit.images.io import read_mask

WRONG = [
    (torch.full((3, 4, 4), 255, dtype=torch.uint8), "received torch.uint8"),
    (torch.full((3, 4, 4), 200.0), r"received up to 200 \(divide 8-bit values by 255\)"),
    (torch.full((3, 4, 4), float("nan")), "received NaN or infinity"),
    (torch.full((3, 4, 4), float("inf")), "received NaN or infinity"),
]


@pytest.mark.parametrize(("image", "message"), WRONG)
def test_writing_and_encoding_refuse_what_is_no_picture(image: torch.Tensor, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        ik.write_image(tmp_path / "a.png", image)
    assert not list(tmp_path.iterdir())
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 0, "channels": 4}, "decoder": "nearest"})
    with pytest.raises(ValueError, match="received"):
        model.encode(image)
    model.encode(torch.full((3, 4, 4), 1.5))  # noise reaches beyond


HOLE = np.zeros((6, 8), np.uint8)
HOLE[2:4, 3:6] = 1


@pytest.mark.parametrize(
    "pixels",
    [
        HOLE,
        HOLE * 255,
        np.dstack([np.zeros((6, 8, 3), np.uint8), HOLE * 255]),
        np.dstack([np.full((6, 8, 3), 255, np.uint8), HOLE * 255]),
        np.dstack([HOLE * 255] * 3),
    ],
    ids=["0 and 1", "0 and 255", "alpha of black", "alpha of white", "colours"],
)
def test_masks_of_every_kind(pixels: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), HOLE == 1)
    assert np.array_equal(read_mask(tmp_path / "mask.png", "black"), HOLE == 0)
    record = ik.create_degradation("inpainting", kind="folder", folder=str(tmp_path), augment=False)
    degraded = record(torch.rand(3, 6, 8), torch.Generator())
    assert int(degraded.mask.sum()) == HOLE.sum()


def test_masks_that_could_mean_anything_are_refused(tmp_path: Path) -> None:
    Image.fromarray(HOLE * 90).save(tmp_path / "grey.png")
    with pytest.raises(ik.ImageError, match="without a pixel above 0.5 of white: its values are 0 to 90 of 255"):
        read_mask(tmp_path / "grey.png")
    Image.fromarray(np.dstack([HOLE * 255] * 3 + [(1 - HOLE) * 255])).save(tmp_path / "both.png")
    with pytest.raises(ik.ImageError, match="colours and transparency"):
        read_mask(tmp_path / "both.png")
    Image.fromarray(HOLE * 0).save(tmp_path / "none.png")
    assert not read_mask(tmp_path / "none.png").any()


def test_webp_without_loss(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    from implicitkit.images.io import Picture, read_picture, write_picture

    write_picture(tmp_path / "a.webp", Picture(pixels), lossless=True)
    assert np.array_equal(read_picture(tmp_path / "a.webp").pixels, pixels)
    write_picture(tmp_path / "b.webp", Picture(pixels))
    assert not np.array_equal(read_picture(tmp_path / "b.webp").pixels, pixels)

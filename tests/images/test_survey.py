"""What a picture shows at little cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from implicitkit.images.io import read_picture
from implicitkit.images.survey import jpeg_quality, noise_level, stored_size
from oracles import PHOTOS


@pytest.mark.parametrize("photo", ["chelsea.png", "coffee.png", "rocket.jpg"])
@pytest.mark.parametrize("sigma", [5, 15, 25])
def test_noise_is_measured_on_photographs(photo: str, sigma: int) -> None:
    """Texture adds to it, and clamping at black and white takes from it: a quarter of it and one level are allowed."""
    pixels = read_picture(PHOTOS / photo).pixels
    assert noise_level(pixels) < 3
    noisy = pixels + np.random.default_rng(0).normal(0, sigma, pixels.shape)
    measured = noise_level(noisy.round().clip(0, 255).astype(np.uint8))
    assert 0.75 * sigma <= measured <= 1.1 * sigma + 1
    deep = (noisy.clip(0, 255) * 257).astype(np.uint16)
    assert noise_level(deep) == pytest.approx(measured, rel=0.05)


def test_sharp_edges_are_no_noise() -> None:
    squares = np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((40, 40))) * 150 + 50
    assert noise_level(squares.astype(np.uint8)[..., None]) == 0


@pytest.mark.parametrize("size", [(1, 1), (10, 400), (17, 17)])
def test_what_is_too_small_has_no_noise(size: tuple[int, int]) -> None:
    assert noise_level(np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)) == 0


@pytest.mark.parametrize("quality", [20, 50, 75, 90, 95])
def test_the_quality_of_a_jpeg_is_that_at_which_it_was_written(tmp_path: Path, quality: int) -> None:
    picture = Image.fromarray(read_picture(PHOTOS / "chelsea.png").pixels[:64, :64])
    picture.save(tmp_path / "a.jpg", quality=quality)
    assert abs(jpeg_quality(tmp_path / "a.jpg") - quality) <= 1  # the table has whole numbers


def test_other_files_have_no_quality_and_damaged_ones_no_size(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "cut.jpg").write_bytes((PHOTOS / "rocket.jpg").read_bytes()[:30])
    for file in (PHOTOS / "chelsea.png", tmp_path / "text.jpg", tmp_path / "cut.jpg", tmp_path / "none.jpg"):
        assert jpeg_quality(file) is None
    assert stored_size(PHOTOS / "chelsea.png") == (300, 451)
    assert stored_size(tmp_path / "text.jpg") is None and stored_size(tmp_path / "none.jpg") is None

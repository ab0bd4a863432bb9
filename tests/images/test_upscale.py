import numpy as np
import pytest
import torch

from implicitkit import kernels
from implicitkit.errors import UserError
from implicitkit.images import upscale
from implicitkit.images.io import Picture
from implicitkit.images.upscale import Enlargement, choose_tile, upscale_picture
from oracles.memory import Limited, grid_points
from oracles.models import small_model


def test_enlargements() -> None:
    assert Enlargement(scale=2.5).of((10, 20)) == (25, 50)
    assert Enlargement(width=30).of((10, 20)) == (15, 30)
    assert Enlargement(height=30).of((10, 20)) == (30, 60)
    assert Enlargement(height=3, width=4, aspect="stretch").of((10, 20)) == (3, 4)
    assert Enlargement(height=3, width=4, aspect="fit").of((10, 20)) == (2, 4)
    assert Enlargement(height=3, width=4, aspect="crop").of((10, 20)) == (3, 4)
    assert Enlargement(height=3, width=4, aspect="crop").whole((10, 20)) == (3, 6)
    assert Enlargement(scale=2.0).whole((10, 20)) == (20, 40)
    assert Enlargement(height=17, width=10).of((5, 3)) == (17, 10)  # 2 % off, by rounding alone
    for size in ((3, 4), (101, 198), (198, 101)):
        with pytest.raises(UserError, match=f"{size[1]}×{size[0]} .width×height. changes the aspect .* of 20×10 by"):
            Enlargement(height=size[0], width=size[1]).of((10, 20))


@pytest.mark.parametrize("size", [(40, 33), (25, 60)])
def test_a_crop_is_the_centre_of_the_whole(size: tuple[int, int]) -> None:
    generator = np.random.default_rng(0)
    pixels, alpha = (
        generator.integers(0, 256, (12, 15, 3), dtype=np.uint8),
        generator.integers(0, 256, (12, 15), dtype=np.uint8),
    )
    model, how = small_model(), Enlargement(height=size[0], width=size[1], aspect="crop")
    height, width = how.whole((12, 15))
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    whole = upscale_picture(model, Picture(pixels, alpha), (height, width))
    part = upscale_picture(model, Picture(pixels, alpha), size, whole=(height, width))
    window = (slice(top, top + size[0]), slice(left, left + size[1]))
    assert part.size == size and np.abs(whole.pixels[window].astype(int) - part.pixels).max() <= 1  # ties of rounding
    assert np.array_equal(whole.alpha[window], part.alpha)
    assert Enlargement(scale=0.01).of((10, 20)) == (1, 1)
    assert Enlargement(width=7).of((1, 40000)) == (1, 7)


@pytest.mark.parametrize("tile", [9, "auto"])
def test_tiles_give_the_same_file(tile: int | str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upscale, "MAX_WHOLE_SIDE", 16)  # so that "auto" cuts this small picture
    monkeypatch.setattr(upscale, "DEFAULT_TILE", 16)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8)
    model = small_model()
    whole = upscale_picture(model, Picture(pixels), (61, 90), tile=None)
    result = upscale_picture(model, Picture(pixels), (61, 90), tile=tile)
    assert np.abs(whole.pixels.astype(int) - result.pixels).max() <= 1  # a tie of the rounding to 8 bits


def test_progress_counts_every_pixel() -> None:
    done: list[int] = []
    upscale_picture(small_model(), Picture(np.zeros((9, 9, 3), np.uint8)), (200, 300), progress=done.append)
    assert done[-1] == 60000 and done == sorted(done)


@pytest.mark.parametrize("residue", [0, 1, 3])
def test_nearly_transparent_pixels_do_not_darken_their_neighbours(residue: int) -> None:
    """An anti-aliased cut-out: black under alphas of a few levels, as many programs leave it."""
    pixels, alpha = np.zeros((24, 24, 3), np.uint8), np.full((24, 24), residue, np.uint8)
    pixels[8:16, 8:16], alpha[8:16, 8:16] = 250, 255
    model = small_model(skip="bilinear")
    with torch.no_grad():  # bilinear interpolation alone
        model.decoder.rest[-1].weight.zero_()
        model.decoder.rest[-1].bias.zero_()
    result = upscale_picture(model, Picture(pixels, alpha), (96, 96))
    assert result.pixels[result.alpha >= 32].min() > 235


@pytest.mark.usefixtures("either_way")
def test_a_file_comes_out_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model(blocks=1)
    picture = Picture(np.random.default_rng(0).integers(0, 256, (90, 75, 3), dtype=np.uint8))
    expected = upscale_picture(model, picture, (100, 120))
    monkeypatch.setattr(
        model.encoder, "extract", Limited(model.encoder.extract, lambda x: x.shape[2] * x.shape[3], 3000)
    )
    monkeypatch.setattr(kernels, "query_grid", Limited(kernels.query_grid, grid_points, 1000))
    done: list[int] = []
    result = upscale_picture(model, picture, (100, 120), progress=done.append)
    assert np.abs(result.pixels.astype(int) - expected.pixels).max() <= 1 and done[-1] == 12000


def test_tiles_follow_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    assert choose_tile(model, (500, 700)) is None and choose_tile(model, (500, 900)) == upscale.DEFAULT_TILE
    monkeypatch.setattr(upscale, "free_memory", lambda device: 2 * 300**2 * upscale.PIXEL_BYTES)
    assert choose_tile(model, (300, 300)) is None and choose_tile(model, (300, 301)) == 256
    monkeypatch.setattr(upscale, "free_memory", lambda device: 0)
    assert choose_tile(model, (300, 300)) == upscale.MIN_TILE
    model.encoder.radius = None
    assert choose_tile(model, (5000, 5000)) is None

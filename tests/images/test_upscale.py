import numpy as np
import pytest
import torch

from implicitkit.images import upscale
from implicitkit.images.io import Picture
from implicitkit.images.transparency import fill_transparent
from implicitkit.images.upscale import Enlargement, upscale_picture
from oracles.models import small_model


def test_enlargements() -> None:
    assert Enlargement(scale=2.5).of((10, 20)) == (25, 50)
    assert Enlargement(width=30).of((10, 20)) == (15, 30)
    assert Enlargement(height=30).of((10, 20)) == (30, 60)
    assert Enlargement(height=3, width=4).of((10, 20)) == (3, 4)
    assert Enlargement(scale=0.01).of((10, 20)) == (1, 1)
    assert Enlargement(width=7).of((1, 40000)) == (1, 7)


@pytest.mark.parametrize("tile", [9, "auto"])
def test_tiles_give_the_same_file(tile: int | str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upscale, "WHOLE_SIDE", 16)  # so that "auto" cuts this small picture
    monkeypatch.setattr(upscale, "AUTO_TILE", 16)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8)
    model = small_model()
    whole = upscale_picture(model, Picture(pixels), (61, 90), tile=None)
    result = upscale_picture(model, Picture(pixels), (61, 90), tile=tile)
    assert np.abs(whole.pixels.astype(int) - result.pixels).max() <= 1  # a tie of the rounding to 8 bits


def test_progress_counts_every_pixel() -> None:
    done: list[int] = []
    upscale_picture(small_model(), Picture(np.zeros((9, 9, 3), np.uint8)), (200, 300), progress=done.append)
    assert done[-1] == 60000 and done == sorted(done)


def test_transparent_pixels_take_the_colour_of_the_visible_ones() -> None:
    colour, alpha = torch.zeros(3, 16, 21), torch.zeros(1, 16, 21)
    colour[:, 3:6, 4:9] = torch.tensor([0.9, 0.5, 0.1])[:, None, None]
    alpha[:, 3:6, 4:9] = 0.5
    filled = fill_transparent(colour, alpha)
    torch.testing.assert_close(filled, torch.tensor([0.9, 0.5, 0.1])[:, None, None].expand(3, 16, 21))
    assert torch.equal(fill_transparent(colour, torch.ones_like(alpha)), colour)
    assert torch.equal(fill_transparent(colour, torch.zeros_like(alpha)), colour)


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


def test_translucent_detail_is_kept() -> None:
    """Stained glass: at half opacity a pixel's colour is its own."""
    colour, alpha = torch.rand(3, 12, 12), torch.full((1, 12, 12), 0.5)
    alpha[:, :3] = 0
    assert torch.allclose(fill_transparent(colour, alpha)[:, 3:], colour[:, 3:])

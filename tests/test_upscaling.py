import numpy as np
import pytest
import torch
from support import small_model

from implicitkit.images import Picture
from implicitkit.transparency import fill_transparent
from implicitkit.upscaling import Enlargement, upscale_picture


def test_enlargements() -> None:
    assert Enlargement(scale=2.5).of((10, 20)) == (25, 50)
    assert Enlargement(width=30).of((10, 20)) == (15, 30)
    assert Enlargement(height=30).of((10, 20)) == (30, 60)
    assert Enlargement(height=3, width=4).of((10, 20)) == (3, 4)
    assert Enlargement(scale=0.01).of((10, 20)) == (1, 1)
    assert Enlargement(width=7).of((1, 40000)) == (1, 7)


@pytest.mark.parametrize("tile", [None, 9, "auto"])
def test_tiles_give_the_same_file(tile: int | str | None) -> None:
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

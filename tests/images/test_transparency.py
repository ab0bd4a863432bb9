"""Colours for transparent pixels."""

from __future__ import annotations

import torch

from implicitkit.images.transparency import fill_transparent


def test_transparent_pixels_take_the_colour_of_the_visible_ones() -> None:
    colour, alpha = torch.zeros(3, 16, 21), torch.zeros(1, 16, 21)
    colour[:, 3:6, 4:9] = torch.tensor([0.9, 0.5, 0.1])[:, None, None]
    alpha[:, 3:6, 4:9] = 0.5
    filled = fill_transparent(colour, alpha)
    torch.testing.assert_close(filled, torch.tensor([0.9, 0.5, 0.1])[:, None, None].expand(3, 16, 21))
    assert torch.equal(fill_transparent(colour, torch.ones_like(alpha)), colour)
    assert torch.equal(fill_transparent(colour, torch.zeros_like(alpha)), colour)


def test_translucent_detail_is_kept() -> None:
    """Stained glass: at half opacity a pixel's colour is its own."""
    colour, alpha = torch.rand(3, 12, 12), torch.full((1, 12, 12), 0.5)
    alpha[:, :3] = 0
    assert torch.allclose(fill_transparent(colour, alpha)[:, 3:], colour[:, 3:])

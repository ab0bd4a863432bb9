"""How a map lies in memory changes neither values nor what can be done with it."""

from __future__ import annotations

import torch

from implicitkit.encoders.base import for_convolutions
from oracles.models import small_model


def test_channels_lie_side_by_side_and_values_stay() -> None:
    x = torch.rand(2, 5, 4, 3)
    laid_out = for_convolutions(x)
    assert laid_out.stride() == (60, 1, 15, 5) and torch.equal(laid_out, x)
    for other in (torch.rand(2, 5, 4), torch.rand(2, 5, 4, 3, 2), torch.rand(2, 5, 4, 3, device="meta")):
        assert for_convolutions(other) is other


def test_an_encoder_under_vmap() -> None:
    encoder, pictures = small_model().encoder, torch.rand(3, 3, 9, 8)
    with torch.no_grad():
        found = torch.func.vmap(lambda picture: encoder(picture[None]).map[0])(pictures)
        torch.testing.assert_close(found, encoder(pictures).map)

"""How a map lies in memory changes neither values nor what can be done with it."""

from __future__ import annotations

import pytest
import torch

import implicitkit as ik
from implicitkit.encoders.base import STRIP_BYTES, for_convolutions, in_strips
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


@pytest.mark.parametrize("batch", [1, 2])
def test_strips_of_lines_make_the_whole(batch: int) -> None:
    a, b = (for_convolutions(torch.rand(batch, 16, 203, 301)) for _ in range(2))
    heights = []

    def joined(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        heights.append(a.shape[2])
        return torch.cat([a, a * b], dim=1)

    expected = torch.cat([a, a * b], dim=1)
    with torch.no_grad():
        found = in_strips(joined, a, b)
        assert torch.equal(found, expected) and found.is_contiguous(memory_format=torch.channels_last)
        assert sum(heights) == 203 and heights[0] * a.nbytes // 203 <= STRIP_BYTES
        over = a.clone()
        assert in_strips(torch.mul, over, b, out=over) is over and torch.equal(over, a * b)
    heights.clear()
    assert torch.equal(in_strips(joined, a, b), expected) and heights == [203], "a graph is kept"


def test_pictures_are_normalised_as_told() -> None:
    encoder = ik.create_encoder("edsr", blocks=1, channels=4, mean=[0.4, 0.5, 0.6], std=0.25)
    picture = torch.rand(1, 3, 4, 5)
    expected = (picture - torch.tensor([0.4, 0.5, 0.6]).reshape(3, 1, 1)) / 0.25
    torch.testing.assert_close(encoder.normalise(picture), expected)
    assert torch.equal(ik.create_encoder("rdn", depth=1, convs=1, mean=0.0, std=1.0).normalise(picture), picture)
    for name, wrong in (("edsr", {"mean": [0.5, 0.5]}), ("edsr_baseline", {"std": 0.0}), ("rdn", {"std": [1, 0, 1]})):
        with pytest.raises(ValueError, match=r"takes mean and std > 0, a number or one for each of 3 channels"):
            ik.create_encoder(name, **wrong)

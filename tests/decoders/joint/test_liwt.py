"""LIWT against the authors' outputs."""

import pytest
import torch

import implicitkit as ik
from implicitkit.decoders.joint.liwt import LIWT, haar
from oracles.parts import BAR, errors


def test_equals_the_authors() -> None:
    assert max(errors("liwt")) < BAR


def test_the_bands_are_an_orthonormal_change_of_coordinates() -> None:
    map = torch.randn(1, 2, 6, 8)
    bands = haar(map)
    assert all(band.shape == (1, 2, 3, 4) for band in bands)
    torch.testing.assert_close(sum(band.square().sum() for band in bands), map.square().sum())
    for odd, even in zip(haar(map[:, :, :5, :7]), haar(map[:, :, :4, :6]), strict=True):
        assert torch.equal(odd, even)


def test_it_sees_the_whole_picture_and_refuses_tiles() -> None:
    model = ik.create_model(
        {"encoder": {"name": "edsr", "blocks": 0, "channels": 8}, "decoder": {"name": "liwt", "hidden": [8]}}
    )
    with pytest.raises(ValueError, match="LIWT sees the whole picture at once, so it cannot encode in tiles"):
        model.encode(torch.rand(3, 9, 9), tile=4)


def test_heads_divide_the_width() -> None:
    with pytest.raises(ValueError, match="heads=7"):
        LIWT(in_channels=8, heads=7)

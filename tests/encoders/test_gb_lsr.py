"""GB-LSR's encoder of patches."""

import pytest
import torch

import implicitkit as ik
from implicitkit import testing


def test_contract() -> None:
    testing.check_encoder({"name": "gb_lsr_patches", "patch": 4, "channels": 8})


def test_a_cell_is_a_patch_and_pictures_are_not_normalised() -> None:
    encoder = ik.create_encoder("gb_lsr_patches", patch=8, channels=8)
    assert (encoder.stride, encoder.radius, len(encoder.net)) == (8, None, 13)
    features = encoder(torch.rand(1, 3, 17, 8))
    assert features.map.shape == (1, 8, 3, 1) and features.extent == (24, 8)
    assert torch.equal(encoder.normalise(torch.full((1, 3, 2, 2), 0.3)), torch.full((1, 3, 2, 2), 0.3))


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"a patch of 2, 4, 8, ... pixels; received 6"):
        ik.create_encoder("gb_lsr_patches", patch=6)
    with pytest.raises(ValueError, match="channels that groups divides"):
        ik.create_encoder("gb_lsr_patches", channels=6)

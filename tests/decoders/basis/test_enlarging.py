"""One integer magnification as convolutions, against the field."""

import pytest
import torch

import implicitkit as ik
from implicitkit.export import EnlargementGraph

PARTS = {
    "gb_lsr": {"order": 4},
    "gb_lsr nearest": {"order": 4, "local_ensemble": False},
    "ope": {"max_frequency": 2},
    "thera": {"components": 5, "max_frequency": 4},
    "thera bilinear": {"components": 5, "skip": "bilinear", "shift": [0.1, 0.2, 0.3], "square_cells": True},
    "thera none": {"components": 5, "skip": "none"},
}


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("name", PARTS)
@torch.no_grad()
def test_equals_the_field_at_the_borders_too(name: str, scale: int) -> None:
    decoder = {"name": name.split()[0], **PARTS[name]}
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 8}, "decoder": decoder}).eval()
    picture = torch.rand(2, 3, 5, 6)
    enlarging = model.decoder.at_scale(scale)
    ours = EnlargementGraph(model, enlarging)(picture)
    expected = model.encode(picture).render((5 * scale, 6 * scale), clamp=False)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)


def test_a_scale_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="scale is a whole number of at least 1; received 0"):
        ik.create_decoder("ope", in_channels=8).at_scale(0)


def test_others_have_none() -> None:
    assert ik.create_decoder("liif", in_channels=8).at_scale(2) is None

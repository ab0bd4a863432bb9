"""What stands in holes, and that nothing else is ever seen there."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import implicitkit as ik
from implicitkit.degradations.base import seeded
from implicitkit.images.filling import FILLS, fill_holes


def a_hole(size: tuple[int, int] = (20, 27)) -> tuple[Tensor, Tensor]:
    picture = torch.rand(2, 3, *size, generator=seeded(1))
    mask = (torch.rand(2, 1, *size, generator=seeded(2)) < 0.3).float()
    mask[0, :, 4:12, 3:15] = 1
    return picture, mask


@pytest.mark.parametrize("fill", [0.25, (0.0, 0.5, 1.0), *FILLS])
def test_known_pixels_stay_and_the_hole_is_not_read(fill: object) -> None:
    picture, mask = a_hole()
    filled = fill_holes(picture, mask, fill)  # type: ignore[arg-type]
    assert torch.equal(torch.where(mask > 0.5, 0.0, filled), torch.where(mask > 0.5, 0.0, picture))
    for other in (0.0, 1.0, math.nan, math.inf):
        assert torch.equal(fill_holes(torch.where(mask > 0.5, other, picture), mask, fill), filled)  # type: ignore[arg-type]


def test_the_mean_is_that_of_each_channels_known_pixels() -> None:
    picture, mask = a_hole()
    filled = fill_holes(picture, mask, "mean")
    known = picture[0][:, mask[0, 0] < 0.5].mean(1)
    assert torch.allclose(filled[0][:, mask[0, 0] > 0.5], known[:, None])


def test_a_picture_without_known_pixels_is_grey() -> None:
    picture, mask = a_hole()
    mask[1] = 1
    for fill in ("mean", "harmonic", "biharmonic"):
        filled = fill_holes(picture, mask, fill)
        assert (filled[1] == 0.5).all() and filled[0].isfinite().all()


def test_values_that_are_no_fill_are_refused() -> None:
    picture, mask = a_hole()
    for fill in ("median", 1.5, (0.1, 1.2), [], True):
        with pytest.raises(ValueError, match="fill is a number in"):
            fill_holes(picture, mask, fill)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="2 values for a picture of 3 channels"):
        fill_holes(picture, mask, (0.1, 0.2))


@pytest.mark.parametrize("fill", [None, 0.25, "noise", "harmonic"])
@pytest.mark.parametrize("skip", ["none", "bilinear", "harmonic", "biharmonic"])
@pytest.mark.parametrize("decoder", ["liif", "lte"])
def test_what_lies_under_the_mask_never_matters(fill: object, skip: str, decoder: str) -> None:
    encoder = {"name": "edsr", "blocks": 1, "channels": 6}
    settings = {"name": decoder, "hidden": [8], "skip": skip} | ({"basis": 8} if decoder == "lte" else {})
    model = ik.create_model({"encoder": encoder, "decoder": settings, "inputs": ["image", "mask"], "fill": fill})
    torch.nn.init.normal_([*model.decoder.parameters()][-2], generator=seeded(0))
    picture, mask = a_hole()
    expected = model.encode(picture, mask).render((20, 27))
    for other in (0.0, 1.0, math.nan):
        assert torch.equal(model.encode(torch.where(mask > 0.5, other, picture), mask).render((20, 27)), expected)
    coords = torch.zeros(2, 1, 2)
    first, second = (
        model(torch.where(mask > 0.5, other, picture), coords, torch.full((1, 1, 2), 0.1), mask).values
        for other in (0.0, 1.0)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize("skip", ["harmonic", "biharmonic"])
@pytest.mark.parametrize("decoder", ["liif", "lte"])
def test_a_new_model_begins_at_the_solver_in_tiles_too(skip: str, decoder: str) -> None:
    encoder = {"name": "edsr", "blocks": 1, "channels": 6}
    model = ik.create_model(
        {"encoder": encoder, "decoder": {"name": decoder, "skip": skip}, "inputs": ["image", "mask"]}
    )
    picture, mask = a_hole((40, 50))
    solved = fill_holes(picture, mask, skip)
    assert torch.allclose(model.encode(picture, mask).render((40, 50)), solved, atol=1e-5)
    assert torch.allclose(model.encode(picture, mask, tile=16).render((40, 50)), solved, atol=1e-5)


def test_a_spec_says_the_fill() -> None:
    spec = {"encoder": "edsr", "decoder": "liif", "inputs": ["image", "mask"], "fill": "harmonic"}
    model = ik.create_model(spec)
    assert model.spec["fill"] == "harmonic" and model.hole_fill == "harmonic"
    assert ik.create_model(model.spec).fill == "harmonic"
    with pytest.raises(ik.ConfigError, match="model.fill: fill is a number in"):
        ik.create_model({**spec, "fill": "gray"})
    picture, mask = a_hole()
    assert torch.equal(model.encode(picture, mask).image, fill_holes(picture, mask, "harmonic"))
    assert np.allclose(model.encode(picture, mask, fill=0.25).image[mask.expand_as(picture) > 0.5], 0.25)

"""Meaning as colours: the same for one picture, whatever part of it is seen."""

from __future__ import annotations

import torch

import implicitkit as ik
from implicitkit.viewer.meaning import Colours, semantic_field
from oracles.models import conditioned_model, small_model


def semantic() -> ik.ImplicitModel:
    torch.manual_seed(3)
    encoder = {"name": "edsr", "blocks": 1, "channels": 8}
    return ik.create_model({"encoder": encoder, "decoder": {"name": "bilinear", "project": False}}).eval()


def test_colours_are_the_principal_components_and_do_not_jump(photo: torch.Tensor) -> None:
    field = semantic().encode(photo)
    colours = Colours.fit(field)
    assert torch.allclose(colours.directions @ colours.directions.T, torch.eye(3), atol=1e-4)
    values = field.render((48, 48)).flatten(1).T.double()
    spread = ((values - values.mean(0)) @ colours.directions.double().T).var(0)
    assert spread[0] >= spread[1] >= spread[2]
    assert torch.linalg.svdvals(values - values.mean(0))[0] ** 2 / (48 * 48 - 1) - spread[0] < 1e-3 * spread[0]
    whole = colours(field.render((48, 48)))
    part = colours(field.render((24, 24), box=(-1, -1, 0, 0)))
    assert torch.allclose(part, whole[:, :24, :24], atol=1e-4)
    assert float(whole.min()) >= 0 and float(whole.max()) <= 1 and float(whole.std()) > 0.1
    again = Colours.fit(field)
    assert torch.equal(again.directions, colours.directions)


def test_a_flat_picture_and_few_channels_give_colours_too() -> None:
    flat = semantic().encode(torch.full((3, 16, 16), 0.5))
    assert Colours.fit(flat)(flat.render((4, 4))).isfinite().all()
    encoder = {"name": "edsr", "blocks": 1, "channels": 2}
    two = ik.create_model({"encoder": encoder, "decoder": {"name": "bilinear", "project": False}}).eval()
    field = two.encode(torch.rand(3, 16, 16))
    assert Colours.fit(field)(field.render((4, 5))).shape == (3, 4, 5)


def test_the_semantic_field_is_found_where_there_is_one(photo: torch.Tensor) -> None:
    assert semantic_field(small_model().encode(photo)) is None
    field = conditioned_model().encode(photo)
    assert semantic_field(field) is field.conditions["semantic"]

"""Necks between encoder and decoder: by name, in a spec, in a file, in tiles, frozen, and what does not fit."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import implicitkit as ik
from implicitkit.errors import UnknownNameError
from implicitkit.necks.base import Neck

ENCODER = {"name": "edsr", "blocks": 0, "channels": 8}
LIIF = {"name": "liif", "hidden": [8]}
PLUS = {"name": "thera_plus", "blocks": [[8, 1], [12, 1]]}


def test_a_chain_of_necks_is_built_saved_and_loaded(tmp_path: Path) -> None:
    model = ik.create_model({"encoder": ENCODER, "neck": [PLUS, {**PLUS, "blocks": [[6, 1]]}], "decoder": LIIF}).eval()
    assert [neck.out_channels for neck in model.necks] == [12, 6] and model.decoder.in_channels == 6
    assert model.sight == 2 + 2 + 1 + 2  # EDSR's convolutions, the necks', and LIIF's reach
    picture = torch.rand(3, 20, 18)
    loaded = ik.load_model(model.save(tmp_path / "model.safetensors"))
    assert loaded.spec == model.spec and len(loaded.spec["neck"]) == 2
    assert torch.equal(loaded.encode(picture).render((9, 9)), model.encode(picture).render((9, 9)))


def test_one_neck_is_a_name_or_a_mapping() -> None:
    model = ik.create_model({"encoder": ENCODER, "neck": PLUS, "decoder": LIIF})
    assert model.spec["neck"]["name"] == "thera_plus" and repr(model).startswith("ImplicitModel(edsr -> thera_plus -> ")


def test_a_frozen_neck_gets_no_gradient() -> None:
    model = ik.create_model({"encoder": ENCODER, "neck": {**PLUS, "trainable": False}, "decoder": LIIF}).train()
    model(torch.rand(1, 3, 6, 6), torch.zeros(1, 2, 2), torch.full((1, 1, 2), 0.1)).values.sum().backward()
    assert all(p.grad is None for p in model.necks[0].parameters()) and not model.necks[0].training
    assert model.spec["neck"]["trainable"] is False


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"EDSR gives 8 features per cell, ConvNeXt takes 9; create the neck with in_ch"
    ):
        ik.create_model({"encoder": ENCODER, "neck": {**PLUS, "in_channels": 9}, "decoder": LIIF})
    with pytest.raises(UnknownNameError, match="unknown neck 'giraffe'"):
        ik.create_neck("giraffe")


def test_a_neck_that_sees_everything_refuses_tiles() -> None:
    class Mean(Neck):
        in_channels = out_channels = 8

        def forward(self, map: Tensor) -> Tensor:
            return map - map.mean((2, 3), keepdim=True)

    model = ik.ImplicitModel(ik.create_encoder(ENCODER), ik.create_decoder(LIIF, in_channels=8), necks=[Mean()])
    with pytest.raises(ValueError, match="Mean sees the whole picture at once, so it cannot encode in tiles"):
        model.encode(torch.rand(3, 8, 8), tile=4)

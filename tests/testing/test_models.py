"""Compose by name is true for every pair: one contract over all registered encoders and decoders."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import pytest
import torch

import implicitkit as ik
from implicitkit.testing import check_decoder, check_encoder
from implicitkit.testing.models import check_gradients, check_round_trip
from oracles.reduced import DECODERS, ENCODERS, NECKS, WITHOUT_GRADIENT, odd_size


def test_no_registered_name_is_left_out() -> None:
    assert {name if ":" not in name else name.partition(":")[0] + ":" for name in ENCODERS} == set(ik.list_encoders())
    assert set(DECODERS) == set(ik.list_decoders())
    assert set(NECKS) == set(ik.list_necks())


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("mask", [False, True], ids=["picture", "picture+mask"])
def test_every_encoder_keeps_the_contract(encoder: str, mask: bool) -> None:
    check_encoder({**ENCODERS[encoder], **({"mask_channels": 1} if mask else {})})


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_keeps_the_contract(decoder: str) -> None:
    check_decoder(DECODERS[decoder])


def pairs(first: Iterable[str], second: Iterable[str]) -> list[Any]:
    """All pairs; quick is each sixth, so that each decoder meets two encoders, and ``slow`` the rest."""
    both = [(a, b, (i + j) % 6 != 0) for (i, a), (j, b) in product(enumerate(first), enumerate(second))]
    return [pytest.param(a, b, marks=pytest.mark.slow) if slow else (a, b) for a, b, slow in both]


@pytest.mark.parametrize(("encoder", "decoder"), pairs(ENCODERS, DECODERS))
def test_every_pair(encoder: str, decoder: str) -> None:
    check_parts({"encoder": ENCODERS[encoder], "decoder": DECODERS[decoder]})


@pytest.mark.parametrize(("neck", "decoder"), pairs(NECKS, DECODERS))
def test_every_neck_before_every_decoder(neck: str, decoder: str) -> None:
    check_parts({"encoder": ENCODERS["edsr"], "neck": NECKS[neck], "decoder": DECODERS[decoder]})


@pytest.mark.parametrize(("neck", "encoder"), pairs(NECKS, ENCODERS))
def test_every_neck_behind_every_encoder(neck: str, encoder: str) -> None:
    check_parts({"encoder": ENCODERS[encoder], "neck": NECKS[neck], "decoder": DECODERS["liif"]})


def check_parts(spec: dict[str, Any]) -> None:
    """The promises of a composition that its parts alone do not keep."""
    torch.manual_seed(0)
    model = ik.create_model(spec).eval()
    picture = torch.rand(2, 3, *odd_size(model))
    if (spec["encoder"]["name"], spec["decoder"]["name"]) not in WITHOUT_GRADIENT:
        check_gradients(model, picture, None)
    check_round_trip(model, picture, None)
    rendered = model.encode(picture).render((33, 47))
    assert rendered.shape == (2, 3, 33, 47) and torch.isfinite(rendered).all()

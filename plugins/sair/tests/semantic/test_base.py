"""What all semantic encoders share: here, that frozen random weights are spoken of, once."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

import implicitkit as ik
from implicitkit_sair.semantic import base

TINY = {"name": "mae_small", "width": 16, "depth": 1, "heads": 2}


def said_by(encoder: ik.Encoder) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            encoder(torch.rand(1, 3, 16, 16))
    return [str(warning.message) for warning in caught]


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_told", set())


def test_frozen_random_weights_are_spoken_of_once() -> None:
    (message,) = said_by(ik.create_encoder(TINY))
    assert message.startswith("the semantic encoder MAESmall is frozen and its weights are random")
    assert said_by(ik.create_encoder(TINY)) == []
    (message,) = said_by(ik.create_encoder("dense", model="vit_tiny_patch16_224", options={"depth": 1}))
    assert "Dense" in message


def test_what_has_learnt_or_learns_is_not(tmp_path: Path) -> None:
    learns = ik.create_encoder(TINY)
    learns.trainable = True
    assert said_by(learns) == []
    assert said_by(ik.create_encoder("twin", of=TINY, kind="random")) == []
    filled = ik.create_encoder(TINY)
    filled.load_state_dict(learns.state_dict())
    assert said_by(filled) == []
    model = ik.create_model({"encoder": TINY, "decoder": {"name": "sir", "hidden": [8]}})
    assert said_by(ik.load_model(model.save(tmp_path / "m.safetensors")).encoder) == []

"""Checkpoints of LIIF's family."""

import pytest
import torch

import implicitkit as ik
from implicitkit.create import build_checkpoint
from implicitkit.weights.authors import recognise
from oracles import PARITY
from oracles.states import random_state


def test_lm_liif_at_its_published_size() -> None:
    state = random_state("lmliif-edsr-baseline")
    model = build_checkpoint(recognise(state, "x"), "x")
    decoder = model.decoder
    assert (decoder.hidden, decoder.depth, decoder.latent[0].out_channels) == (16, 6, 208)
    theirs = state["hypernet.layers.0.weight"]
    assert torch.equal(decoder.latent[0].weight[:, 5, 1, 2], theirs[:, 9 * 5 + 5])  # unfold puts the channel first
    assert torch.equal(decoder.latent_size.weight, theirs[:, -2:])
    last = state["hypernet.layers.2.bias"]  # scales, shifts, code
    assert torch.equal(decoder.latent[2].bias, torch.cat([last[-16:], last[:-16]]))
    assert torch.equal(decoder.rest[4].weight, state["imnet.layers.10.weight"])
    assert torch.equal(decoder.last.bias, state["imnet.layers.12.bias"])


def test_lm_liif_without_unfolding() -> None:
    state = random_state("lmliif-edsr-baseline")
    state["hypernet.layers.0.weight"] = state["hypernet.layers.0.weight"][:, :66]
    assert build_checkpoint(recognise(state, "x"), "x").decoder.latent[0].kernel_size == (1, 1)


@pytest.mark.parametrize("name", ["liif", "lte", "lte-plus", "metasr"])
def test_liif_and_its_relatives_are_told_apart(name: str) -> None:
    decoder = ik.load_model(PARITY / f"{name}-edsr.pth").decoder
    assert decoder.title == name.replace("-", "_")

"""Checkpoints of decoders with a joint view."""

import torch

from implicitkit.create import build_checkpoint
from implicitkit.weights.authors import recognise
from oracles.states import random_state


def test_linf_at_its_published_size() -> None:
    state = random_state("linf-edsr-baseline")
    model = build_checkpoint(recognise(state, "x"), "x")
    spec = {"name": "linf", "width": 256, "depth": 3, "flow_layers": 10, "out_channels": 3, "in_channels": 64}
    assert model.decoder.spec == spec
    assert torch.equal(model.decoder.flow.weight[10], state["imnet.last._weight"])
    assert torch.equal(model.decoder.flow.bias[9], state["imnet.linears.9.bias"])
    assert torch.equal(model.decoder.mlp[6].weight, state["layers.6.weight"][:, :, 0, 0])


def test_patches_of_linf() -> None:
    state = random_state("linf-edsr-baseline")
    values = 27
    for key in [key for key in state if key.startswith("imnet.")]:
        state[key] = torch.rand([values] * state[key].ndim)
    last = max(int(key.split(".")[1]) for key in state if key.startswith("layers."))
    for kind in ("weight", "bias"):
        key = f"layers.{last}.{kind}"
        state[key] = torch.rand(10 * 2 * values, *state[key].shape[1:])
    model = build_checkpoint(recognise(state, "x"), "x")
    assert {k: model.decoder.spec[k] for k in ("name", "patch", "authors_ends", "flow_layers")} == {
        "name": "linf_patch",
        "patch": 3,
        "authors_ends": True,
        "flow_layers": 10,
    }


def test_clit_at_its_published_size() -> None:
    state = random_state("clit2-edsr-baseline")
    spec = build_checkpoint(recognise(state, "x"), "x").decoder.spec
    assert {k: spec[k] for k in ("width", "heads", "radius", "stages", "waves")} == {
        "width": 256,
        "heads": 8,
        "radius": 3,
        "stages": 2,
        "waves": 64,
    }
    assert spec["hidden"] == [256] * 4


def test_liwts_filters_and_dead_layers_are_left_out() -> None:
    state = random_state("liwt-edsr-baseline")
    model = build_checkpoint(recognise(state, "x"), "x")
    assert torch.equal(model.decoder.gate[2].bias, state["fc_2.bias"])
    assert torch.equal(model.decoder.branch.blocks[3].high[2].bias, state["encoder_wave.body4.body.2.bias"])


def test_ciaosr_as_mmagic_writes_it_has_its_authors_mean() -> None:
    state = random_state("ciaosr-edsr-baseline")
    model = build_checkpoint(recognise({f"generator.{key}": value for key, value in state.items()}, "x"), "x")
    assert torch.equal(model.decoder.of_query[8].bias, state["imnet_q.layers.8.bias"])
    assert (model.encoder.mean, model.encoder.std) == ([0.4488, 0.4371, 0.4040], 1.0)

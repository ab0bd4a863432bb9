"""SRNO's and HIIF's checkpoints."""

import torch

from implicitkit.create import build_checkpoint
from implicitkit.weights.authors import recognise
from oracles.states import random_state


def test_srno_at_its_published_size() -> None:
    state = random_state("srno-edsr-baseline")
    model = build_checkpoint(recognise(state, "x"), "x")
    assert model.decoder.spec == {"name": "srno", "width": 256, "heads": 16, "out_channels": 3, "in_channels": 64}
    assert torch.equal(model.decoder.first.weight, state["conv00.weight"][:, :, 0, 0])
    assert torch.equal(model.decoder.attentions[1].norm_value.weight, state["conv1.vln.weight"][:, 0])
    assert torch.equal(model.decoder.attentions[0].second.bias, state["conv0.o_proj2.bias"])
    assert torch.equal(model.decoder.last.weight, state["fc2.weight"][:, :, 0, 0])


def test_hiif_at_its_published_size() -> None:
    state = random_state("hiif-edsr-baseline")
    model = build_checkpoint(recognise({f"module.{key}": value for key, value in state.items()}, "x"), "x")
    assert model.decoder.spec == {"name": "hiif", "width": 256, "heads": 16, "out_channels": 3, "in_channels": 64}
    assert torch.equal(model.decoder.levels[5][3].weight, state["fc_layers.5.fc2.weight"])
    assert torch.equal(model.decoder.levels[2][0].bias, state["fc_layers.2.norm.bias"])
    assert torch.equal(model.decoder.attentions[0].first.weight.flatten(), state["conv0.proj1.weight"].flatten())

"""LINF's checkpoints."""

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

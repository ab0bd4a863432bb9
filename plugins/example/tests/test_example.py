"""The decoder keeps implicitkit's contract, and learns."""

import torch

import implicitkit as ik
from implicitkit import testing

SPEC = {"name": "example", "hidden": 16}


def test_it_is_found_by_name():
    assert "example" in ik.list_decoders()


def test_it_keeps_the_contract():
    testing.check_decoder(SPEC)


def test_it_can_learn_a_picture():
    torch.manual_seed(0)
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 16}, "decoder": SPEC}).train()
    picture = torch.rand(1, 3, 8, 8)
    coords = torch.rand(1, 64, 2) * 2 - 1
    target = torch.cat([coords, coords.prod(-1, keepdim=True)], dim=-1)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = (model(picture, coords).values - target).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2

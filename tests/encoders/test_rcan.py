"""RCAN against a literal version of its equations."""

import pytest
import torch
import torch.nn.functional as F

import implicitkit as ik
from implicitkit.encoders.rcan import RCAN
from implicitkit.testing import check_encoder

SMALL = {"name": "rcan", "groups": 2, "blocks": 2, "channels": 8, "reduction": 4}


def literal(encoder: RCAN, x: torch.Tensor) -> torch.Tensor:
    """Zhang et al., eq. 4-12: groups of blocks whose channels are scaled by a function of all channels' means."""
    w = dict(encoder.named_parameters())

    def conv(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=1)

    def dense(v: torch.Tensor, name: str) -> torch.Tensor:
        return v @ w[f"{name}.weight"].flatten(1).T + w[f"{name}.bias"]

    first = x = conv(x, "head")
    groups = len(encoder.body.body) - 1
    for g in range(groups):
        start, blocks = x, len(encoder.body.body[g].body) - 1
        for b in range(blocks):
            name = f"body.body.{g}.body.{b}.body"
            y = conv(torch.relu(conv(x, f"{name}.0")), f"{name}.2")
            means = y.flatten(2).mean(2)
            scale = torch.sigmoid(dense(torch.relu(dense(means, f"{name}.3.gate.0")), f"{name}.3.gate.2"))
            x = x + y * scale[:, :, None, None]
        x = start + conv(x, f"body.body.{g}.body.{blocks}")
    return first + conv(x, f"body.body.{groups}")


def test_equals_the_literal_formula() -> None:
    encoder = ik.create_encoder(SMALL)
    x = torch.rand(2, 3, 7, 9)
    torch.testing.assert_close(encoder(x).map, literal(encoder, x * 2 - 1), atol=1e-5, rtol=0)


def test_published_size() -> None:
    with torch.device("meta"):
        encoder = ik.create_encoder("rcan")
    conv, gate = 64 * 64 * 9 + 64, 64 * 4 + 4 + 4 * 64 + 64
    assert sum(p.numel() for p in encoder.parameters()) == 28 * 64 + 10 * (20 * (2 * conv + gate) + conv) + conv


@pytest.mark.parametrize("masks", [0, 1])
def test_contract(masks: int) -> None:
    check_encoder({**SMALL, "reduction": 1, "mask_channels": masks})  # a gate of 2 channels dies at some seeds


def test_it_sees_everything_and_says_so() -> None:
    encoder = ik.create_encoder(SMALL)
    x = torch.rand(1, 3, 40, 40, requires_grad=True)
    encoder(x).map[0, :, 0, 0].sum().backward()
    assert (x.grad.abs().sum((0, 1)) > 0).all()
    assert encoder.receptive_field == "global"
    model = ik.ImplicitModel(encoder, ik.create_decoder("liif", in_channels=8, hidden=[4]))
    with pytest.raises(ValueError, match="RCAN sees the whole picture at once"):
        model.encode(x.detach(), tile=16)


@pytest.mark.parametrize("arguments", [{"groups": 0}, {"reduction": 9}, {"reduction": 0}, {"mask_channels": -1}])
def test_bad_arguments_are_named(arguments: dict) -> None:
    (value,) = arguments.values()
    with pytest.raises(ValueError, match=f"rcan takes .*received .*{value}"):
        ik.create_encoder({**SMALL, **arguments})

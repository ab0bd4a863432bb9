"""RDN against a literal version of its equations."""

import pytest
import torch
import torch.nn.functional as F

import implicitkit as ik
from implicitkit.encoders.rdn import RDN
from implicitkit.testing import check_encoder


def literal(encoder: RDN, x: torch.Tensor) -> torch.Tensor:
    """Zhang et al., eq. 1-9: shallow features, dense blocks with local fusion, global fusion, the first map added."""
    w = dict(encoder.named_parameters())

    def conv(x: torch.Tensor, name: str) -> torch.Tensor:
        kernel = w[f"{name}.weight"]
        return F.conv2d(x, kernel, w[f"{name}.bias"], padding=(kernel.shape[-1] - 1) // 2)

    first = conv(x, "shallow.0")
    current, outputs = conv(first, "shallow.1"), []
    for d in range(len(encoder.blocks)):
        pieces = [current]
        for c in range(len(encoder.blocks[d].layers)):
            pieces.append(torch.relu(conv(torch.cat(pieces, 1), f"blocks.{d}.layers.{c}")))
        current = current + conv(torch.cat(pieces, 1), f"blocks.{d}.fuse")
        outputs.append(current)
    return first + conv(conv(torch.cat(outputs, 1), "fuse.0"), "fuse.1")


@pytest.mark.parametrize("sizes", [(3, 2, 5, 7), (1, 4, 3, 6)])
def test_equals_the_literal_formula(sizes: tuple[int, ...]) -> None:
    depth, convs, growth, channels = sizes
    encoder = ik.create_encoder("rdn", depth=depth, convs=convs, growth=growth, channels=channels)
    x = torch.rand(2, 3, 9, 11)
    torch.testing.assert_close(encoder(x).map, literal(encoder, x * 2 - 1), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("config", "sizes"), [("A", (20, 6, 32)), ("B", (16, 8, 64))])
def test_published_sizes(config: str, sizes: tuple[int, int, int]) -> None:
    depth, convs, growth = sizes
    with torch.device("meta"):
        encoder = ik.create_encoder("rdn", config=config)
    block = sum(((64 + k * growth) * 9 + 1) * growth for k in range(convs)) + (64 + convs * growth + 1) * 64
    assert sum(p.numel() for p in encoder.parameters()) == (
        (27 + 1) * 64 + (64 * 9 + 1) * 64 + depth * block + (depth * 64 + 1) * 64 + (64 * 9 + 1) * 64
    )
    assert encoder.radius == 3 + depth * convs


def test_given_sizes_replace_the_configurations() -> None:
    with torch.device("meta"):
        encoder = ik.create_encoder("rdn", config="A", depth=2, channels=8)
    assert len(encoder.blocks) == 2 and len(encoder.blocks[0].layers) == 6
    assert encoder.blocks[0].layers[1].weight.shape == (32, 8 + 32, 3, 3)


@pytest.mark.parametrize("masks", [0, 1])
def test_contract(masks: int) -> None:
    check_encoder({"name": "rdn", "depth": 2, "convs": 2, "growth": 4, "channels": 6, "mask_channels": masks})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"config": "C"}, "'C'"), ({"depth": 0}, "received 0, 8, 64"), ({"mask_channels": -1}, "mask_channels >= 0")],
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        ik.create_encoder("rdn", **arguments)

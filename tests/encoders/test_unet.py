"""The U-Net: shapes, what it sees, and where it starts."""

from __future__ import annotations

import pytest
import torch

from implicitkit.encoders.unet import UNet


def small(**settings: object) -> UNet:
    torch.manual_seed(0)
    encoder = UNet(**{"widths": [8, 12, 16], "blocks": [1, 1, 1], "heads": 2} | settings)  # type: ignore[arg-type]
    for parameter in encoder.parameters():  # residual branches start at zero
        torch.nn.init.normal_(parameter, std=0.2)
    return encoder.eval()


def test_blocks_start_as_the_identity() -> None:
    encoder, x = UNet([8, 12, 16], [1, 1, 1], heads=2), torch.randn(1, 16, 3, 5)
    assert torch.equal(encoder.bottom(x), x)


@pytest.mark.parametrize("blocks", [[0, 0, 0], [1, 1, 1], [2, 0, 1]])
def test_the_radius_holds_and_is_not_wasteful(blocks: list[int]) -> None:
    encoder = small(attention=0, blocks=blocks).double()
    assert encoder.radius is not None
    size = 4 * (encoder.radius // 2 + 8)
    x = torch.rand(1, 3, size, size, dtype=torch.float64)
    reached = 0
    for middle in range(size // 2, size // 2 + 4):  # at every place in a coarse cell
        other = x.clone()
        other[..., middle, middle] += 1
        changed = (encoder(x).map != encoder(other).map).any(1)[0].nonzero()
        reached = max(reached, int((changed - middle).abs().max()))
    assert encoder.radius - 8 <= reached <= encoder.radius


def test_attention_sees_everything() -> None:
    encoder = small()
    x = torch.rand(1, 3, 64, 64, requires_grad=True)
    encoder(x).map[0, :, 0, 0].sum().backward()
    assert encoder.radius is None and x.grad is not None and (x.grad[0, :, -1, -1] != 0).any()


def test_numbers_that_do_not_fit_are_refused() -> None:
    for settings in ({"blocks": [1]}, {"widths": [8]}, {"heads": 0}):
        with pytest.raises(ValueError, match="unet takes two or more positive widths"):
            small(**settings)
    with pytest.raises(ValueError, match="heads that divide the last width"):
        small(heads=3)

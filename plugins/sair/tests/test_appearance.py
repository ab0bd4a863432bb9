import pytest
import torch
import torch.nn.functional as F

import implicitkit as ik
from implicitkit import testing
from implicitkit_sair.appearance import Appearance

SMALL = {"name": "sair_appearance", "widths": [6, 8, 10], "blocks": 2, "channels": 5}


def slow_instance_norm(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for b in range(x.shape[0]):
        for c in range(x.shape[1]):
            values = x[b, c]
            mean = values.sum() / values.numel()
            variance = ((values - mean) ** 2).sum() / values.numel()
            out[b, c] = (values - mean) / (variance + 1e-5) ** 0.5
    return out


def literal(encoder: Appearance, x: torch.Tensor) -> torch.Tensor:
    """The encoder written out, layer by layer."""
    w = encoder.state_dict()
    x = torch.cat([(x[:, :3] - 0.5) / 0.5, x[:, 3:]], dim=1)
    x = F.conv2d(x, w["down.0.weight"], w["down.0.bias"], padding=3).clamp_min(0)
    x = F.conv2d(x, w["down.2.weight"], w["down.2.bias"], stride=2, padding=1).clamp_min(0)
    x = F.conv2d(x, w["down.4.weight"], w["down.4.bias"], stride=2, padding=1).clamp_min(0)
    for k in range(len(encoder.body)):
        y = slow_instance_norm(F.conv2d(x, w[f"body.{k}.body.0.weight"], padding=2, dilation=2)).clamp_min(0)
        x = x + slow_instance_norm(F.conv2d(y, w[f"body.{k}.body.3.weight"], padding=1))
    x = F.conv_transpose2d(x, w["up.0.weight"], w["up.0.bias"], stride=2, padding=1).clamp_min(0)
    return F.conv_transpose2d(x, w["up.2.weight"], w["up.2.bias"], stride=2, padding=1)


def test_it_is_the_formula() -> None:
    encoder = ik.create_encoder(SMALL)
    x = torch.rand(2, 4, 12, 16)
    x[:, 3:] = (x[:, 3:] < 0.3).float()
    features = encoder(x)
    assert features.map.shape == (2, 5, 12, 16) and features.extent == (12, 16)
    torch.testing.assert_close(features.map, literal(encoder, x), atol=1e-5, rtol=1e-5)


def test_the_papers_sizes() -> None:
    with torch.device("meta"):
        encoder = ik.create_encoder("sair_appearance")
    assert (encoder.out_channels, encoder.stride, encoder.size_multiple) == (64, 1, 4)
    convolutions = [m for m in encoder.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))]
    shapes = [(m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0], m.dilation[0]) for m in convolutions]
    blocks = [(256, 256, 3, 1, 2), (256, 256, 3, 1, 1)] * 8
    ways = [(4, 64, 7, 1, 1), (64, 128, 4, 2, 1), (128, 256, 4, 2, 1)], [(256, 128, 4, 2, 1), (128, 64, 4, 2, 1)]
    assert shapes == [*ways[0], *blocks, *ways[1]]


@pytest.mark.parametrize("masks", [0, 1])
def test_it_keeps_the_contract(masks: int) -> None:
    testing.check_encoder({**SMALL, "mask_channels": masks})


@pytest.mark.parametrize("size", [(3, 5), (12, 20)])
def test_reflected_it_continues_a_map_by_its_mirror_image(size: tuple[int, int]) -> None:
    settings = {"widths": [4, 6, 8], "blocks": 1, "channels": 5, "mask_channels": 0}
    encoder = Appearance(**settings, padding="reflect").eval()
    convolution = encoder.down[0]
    assert isinstance(convolution, torch.nn.Conv2d)
    x = torch.rand(1, 3, *size)
    padded = F.pad(x, (3, 3, 3, 3), mode="reflect" if min(size) > 3 else "replicate")
    torch.testing.assert_close(convolution(x), F.conv2d(padded, convolution.weight, convolution.bias))
    zeros = Appearance(**settings)
    zeros.load_state_dict(encoder.state_dict())  # the same tensors
    assert not torch.allclose(zeros(x).map, encoder(x).map)
    testing.check_encoder({"name": "sair_appearance", **settings, "padding": "reflect"})


def test_it_is_global_and_says_so() -> None:
    encoder = ik.create_encoder(SMALL)
    x = torch.rand(1, 4, 96, 96, requires_grad=True)
    encoder(x).map[0, :, 0, 0].sum().backward()
    assert encoder.radius is None and x.grad[..., 90:, 90:].abs().max() > 0


def test_brightness_and_contrast_are_not_normalised_away() -> None:
    encoder = ik.create_encoder({**SMALL, "widths": [16, 24, 32]})
    x = torch.cat([torch.rand(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)], dim=1)
    dimmed = torch.cat([x[:, :3] * 0.5 + 0.1, x[:, 3:]], dim=1)
    one, two = encoder(x).map, encoder(dimmed).map
    assert (one - two).abs().mean() > 0.05 * one.abs().mean()


def test_bad_numbers_are_named() -> None:
    with pytest.raises(ValueError, match=r"three widths.*received \[8, 8\]"):
        ik.create_encoder("sair_appearance", widths=[8, 8])
    with pytest.raises(ValueError, match="received shape"):
        ik.create_encoder(SMALL)(torch.rand(1, 3, 8, 8))

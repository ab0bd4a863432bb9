"""SPAN: the chain of training against its one convolution, and both against the published equations."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import implicitkit as ik
from implicitkit.encoders.span import PICTURE_MEAN, SPAN, TrainingConv
from implicitkit.testing import check_encoder


def chain(layer: TrainingConv, x: Tensor) -> Tensor:
    """The layers one after the other, as the authors train them."""
    wide = layer.spatial(layer.expand(F.pad(x, (1, 1, 1, 1))))
    return layer.reduce(wide) + layer.parallel(x)


def literal(encoder: SPAN, picture: Tensor) -> Tensor:
    """Their eq. 1-5 on a picture in [0, 1], every convolution as its chain."""
    first = chain(encoder.first, (picture - torch.tensor(PICTURE_MEAN).to(picture)[:, None, None]) * 255)
    x, inner = first, []
    for block in encoder.blocks:
        one, two, three = block.convs
        inner.append(F.silu(chain(one, x)))
        residual = chain(three, F.silu(chain(two, inner[-1])))
        x = (x + residual) * (torch.sigmoid(residual) - 0.5)
        if len(inner) == 1:
            early = x
    maps = torch.cat([first, chain(encoder.last, x), early, inner[-1]], 1)
    return encoder.fuse(maps)


@pytest.mark.parametrize(("channels", "blocks"), [(5, 1), (8, 3)])
def test_equals_the_literal_formula_and_its_folded_form(channels: int, blocks: int) -> None:
    # float64: the blocks enlarge float32's rounding by what random weights happen to be
    encoder = ik.create_encoder("span", channels=channels, blocks=blocks).double()
    x = torch.rand(2, 3, 9, 11, dtype=torch.float64)
    expected = literal(encoder, x)
    bar = 1e-5 * max(1.0, float(expected.detach().abs().max()))
    torch.testing.assert_close(encoder(x).map, expected, atol=bar, rtol=0)
    torch.testing.assert_close(encoder.fold()(x).map, expected, atol=bar, rtol=0)
    assert encoder.spec == {"name": "span", "channels": channels, "blocks": blocks, "folded": True}
    again = ik.create_encoder(encoder.spec).double()
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again(x).map, encoder(x).map)


def test_gradients_are_the_chains() -> None:
    layer, x = TrainingConv(4, 6).double(), torch.rand(1, 4, 5, 5, dtype=torch.float64)
    for forward in (layer, lambda x: chain(layer, x)):
        layer.zero_grad()
        forward(x).square().sum().backward()
        gradients = [p.grad.clone() for p in layer.parameters()]
        if forward is layer:
            merged = gradients
    for ours, theirs in zip(merged, gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-10)


def test_the_kernel_is_made_in_float32_under_autocast() -> None:
    layer = TrainingConv(3, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        kernel, _ = layer.merged()
    assert torch.equal(kernel, layer.merged()[0]) and kernel.dtype == torch.float32


def test_published_size() -> None:
    encoder = SPAN()
    chains = 19 * ((48 + 1) * 96 + (96 * 9 + 1) * 96 + (96 + 1) * 48 + (48 + 1) * 48)
    first = (3 + 1) * 6 + (6 * 9 + 1) * 96 + (96 + 1) * 48 + (3 + 1) * 48
    fuse = (192 + 1) * 48
    assert sum(p.numel() for p in encoder.parameters()) == first + chains + fuse
    folded = 19 * (48 * 9 + 1) * 48 + (27 + 1) * 48 + fuse
    assert sum(p.numel() for p in encoder.fold().parameters()) == folded == 405_504
    assert (encoder.out_channels, encoder.radius) == (48, 20)


@pytest.mark.parametrize("arguments", [{}, {"mask_channels": 1}, {"folded": True}, {"in_channels": 1}])
def test_contract(arguments: dict) -> None:
    check_encoder({"name": "span", "channels": 6, "blocks": 2, "value_range": 4, **arguments})


def test_masks_have_the_pictures_range() -> None:
    encoder = ik.create_encoder("span", channels=4, blocks=1, mask_channels=1)
    x = torch.zeros(1, 4, 6, 6)
    x[:, :3] = torch.tensor(PICTURE_MEAN)[:, None, None]
    x[:, 3] = 1
    alike = torch.cat([torch.zeros(1, 3, 6, 6), torch.full((1, 1, 6, 6), 255.0)], 1)
    encoder.blocks = torch.nn.ModuleList([encoder.blocks[0]])
    torch.testing.assert_close(encoder(x).map, encoder.extract(alike / torch.tensor([1, 1, 1, 255.0])[:, None, None]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"blocks": 0}, "received 48, 0, 3, 0 and 255"),
        ({"value_range": 0}, "value_range > 0"),
        ({"mean": [0.5]}, r"one per picture channel; received \[0.5\] for 3"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        ik.create_encoder("span", **arguments)


def test_strips_of_lines_vmap_and_hooks_make_the_same_map() -> None:
    encoder, picture = ik.create_encoder("span", channels=48, blocks=1), torch.rand(1, 3, 150, 170)
    expected = encoder(picture).map.detach()  # with a graph: whole maps
    heights: list[int] = []
    with torch.no_grad():
        torch.testing.assert_close(encoder(picture).map, expected, rtol=1e-4, atol=1e-4)
        mapped = torch.func.vmap(lambda x: encoder(x).map)(picture[None])[0]
        torch.testing.assert_close(mapped, expected, rtol=1e-4, atol=1e-4)
        encoder.fuse.register_forward_hook(lambda _, __, map: heights.append(map.shape[2]))
        encoder(picture)
    assert heights == [150]

"""The dense modes against their formulas, written out one head and one patch at a time."""

from __future__ import annotations

import math

import open_clip
import pytest
import torch
from tiny_clip import RESNET, VIT, build
from torch import Tensor

from implicitkit_sair.semantic.clip.modes import MODES, dense_resnet, dense_vit, gaussian_window, positions, unused

SCALED = {**VIT, "vision_cfg": {**VIT["vision_cfg"], "ls_init_value": 0.3}}
BARE = {**VIT, "vision_cfg": {**VIT["vision_cfg"], "no_ln_pre": True}}


def literal(block: torch.nn.Module, x: Tensor, cells: tuple[int, int], mode: str) -> Tensor:
    """The last block of one picture, ``(1 + N, C)``, the class token first, to the same shape."""
    attention = block.attn
    width, heads = x.shape[1], attention.num_heads
    size = width // heads
    weights, biases = attention.in_proj_weight.split(width), attention.in_proj_bias.split(width)
    normed = block.ln_1(x)
    q, k, v = (normed @ w.T + b for w, b in zip(weights, biases, strict=True))
    seen = torch.zeros_like(v)
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        for i in range(len(x)):
            if mode == "maskclip":
                seen[i, own] = v[i, own]
                continue
            pairs = {"vanilla": [(q, k)], "sclip": [(q, q), (k, k)], "clearclip": [(q, q)], "naclip": [(k, k)]}[mode]
            for a, b in pairs:
                logits = [float(a[i, own] @ b[j, own]) / math.sqrt(size) for j in range(len(x))]
                if mode == "naclip":
                    logits = [value + window(i, j, cells) for j, value in enumerate(logits)]
                total = sum(math.exp(value) for value in logits)
                for j, value in enumerate(logits):
                    seen[i, own] += math.exp(value) / total * v[j, own]
    attended = block.ls_1(seen @ attention.out_proj.weight.T + attention.out_proj.bias)
    if mode in ("clearclip", "naclip"):
        return attended
    y = x + attended
    return y + block.ls_2(block.mlp(block.ln_2(y)))


def window(i: int, j: int, cells: tuple[int, int]) -> float:
    """naclip's: patches ``i - 1`` and ``j - 1`` are so and so far apart; the class token, 0, is far from none."""
    if i == 0 or j == 0:
        return 0.0
    (y, x), (other_y, other_x) = divmod(i - 1, cells[1]), divmod(j - 1, cells[1])
    return math.exp(-((y - other_y) ** 2 + (x - other_x) ** 2) / (2 * 5.0**2))


@torch.no_grad()
@pytest.mark.parametrize(
    ("mode", "config"), [*((mode, VIT) for mode in MODES), ("sclip", SCALED), ("naclip", SCALED), ("maskclip", BARE)]
)
def test_each_mode_is_its_formula(mode: str, config: dict) -> None:
    net = build(config).visual.double()
    x = torch.randn(2, 3, 16, 24, dtype=torch.float64)
    found = dense_vit(net, x, mode)
    assert found.shape == (2, 24, 2, 3)

    table = positions(net.positional_embedding, net.grid_size, (2, 3))
    for picture, features in zip(x, found, strict=True):
        patches = [
            torch.einsum("dcij,cij->d", net.conv1.weight, picture[:, r * 8 : r * 8 + 8, c * 8 : c * 8 + 8])
            for r in range(2)
            for c in range(3)
        ]
        tokens = net.ln_pre(torch.stack([net.class_embedding, *patches]) + table)
        *blocks, last = net.transformer.resblocks
        for block in blocks:
            tokens = block(tokens[None])[0]
        expected = net.ln_post(literal(last, tokens, (2, 3), mode)[1:]) @ net.proj
        torch.testing.assert_close(features.flatten(1).T, expected, atol=1e-7, rtol=0)  # the window is float32


@torch.no_grad()
@pytest.mark.parametrize("quick_gelu", [False, True])
@pytest.mark.parametrize("size", [[32, 32], [24, 56]])
def test_vanilla_is_open_clips_own(size: list[int], quick_gelu: bool) -> None:
    """At another size too, where open_clip builds a network of that size and resizes the position embeddings itself."""
    net = build(VIT, quick_gelu).visual
    theirs = build(VIT, quick_gelu, size)
    state = {f"visual.{key}": value for key, value in net.state_dict().items()}
    open_clip.factory.resize_pos_embed(state, theirs)
    theirs.visual.load_state_dict({key.removeprefix("visual."): value for key, value in state.items()})
    theirs.visual.output_tokens = True
    x = torch.randn(2, 3, *size)
    _, tokens = theirs.visual(x)  # after the final norm
    found = dense_vit(net, x, "vanilla").flatten(2).transpose(1, 2)
    torch.testing.assert_close(found, tokens @ theirs.visual.proj, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_resnet_gives_the_values_of_its_attention_pool() -> None:
    """With all attention on one cell, and no position embedding, the pool itself gives that cell's feature."""
    net = build(RESNET).visual
    x = torch.randn(2, 3, 64, 96)
    found = dense_resnet(net, x)
    assert found.shape == (2, 24, 2, 3)

    cells = net.forward_intermediates(x, indices=[4], intermediates_only=True)["image_intermediates"][0]
    net.attnpool.positional_embedding = torch.nn.Parameter(torch.zeros(2, cells.shape[1]))  # a class token and one cell
    for r in range(2):
        for c in range(3):
            torch.testing.assert_close(found[:, :, r, c], net.attnpool(cells[:, :, r : r + 1, c : c + 1]))


def test_naclips_window_is_a_gaussian_of_the_distance() -> None:
    found = gaussian_window((3, 4))
    expected = [[window(i + 1, j + 1, (3, 4)) for j in range(12)] for i in range(12)]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=0)
    narrow = gaussian_window((1, 2), sigma=0.5)
    assert float(narrow[0, 1]) == pytest.approx(math.exp(-2))


def cubic(source: int, target: int) -> Tensor:
    """``(target, source)`` weights of a = -0.5 bicubic interpolation, the kernel widened where it shrinks."""
    stretch = max(1.0, source / target)
    rows = []
    for i in range(target):
        centre = (i + 0.5) * source / target - 0.5
        row = []
        for j in range(source):
            t = abs(j - centre) / stretch
            near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
            row.append(near if t < 1 else far if t < 2 else 0.0)
        rows.append([value / sum(row) for value in row])
    return torch.tensor(rows)


@pytest.mark.parametrize("cells", [(6, 8), (2, 9), (1, 1), (3, 5)])
def test_positions_of_another_size_are_bicubic_and_keep_the_class_token(cells: tuple[int, int]) -> None:
    embedding = torch.randn(1 + 12, 5)
    assert positions(embedding, (3, 4), (3, 4)) is embedding
    found = positions(embedding, (3, 4), cells)
    assert torch.equal(found[0], embedding[0])
    expected = torch.einsum("rh,cw,hwd->rcd", cubic(3, cells[0]), cubic(4, cells[1]), embedding[1:].reshape(3, 4, 5))
    torch.testing.assert_close(found[1:], expected.reshape(-1, 5), atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("config", [VIT, RESNET], ids=["vit", "resnet"])
def test_what_is_called_unused_gets_no_gradient_and_all_else_does(config: dict, mode: str) -> None:
    net = build(config).visual
    if config is RESNET:
        dense_resnet(net, torch.randn(2, 3, 64, 64)).square().sum().backward()
    else:
        dense_vit(net, torch.randn(2, 3, 32, 40), mode).square().sum().backward()
    idle = {id(p) for p in unused(net, mode)}
    without = {name for name, p in net.named_parameters() if p.grad is None}
    assert without == {name for name, p in net.named_parameters() if id(p) in idle}

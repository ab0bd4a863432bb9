"""CLIP without the patches that are mostly missing, against attention over all patches with those hidden."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_clip import VIT, build
from torch import Tensor

import implicitkit as ik
from implicitkit import testing
from implicitkit_sair.semantic.clip.modes import MODES, dense_vit, gaussian_window, pooled_vit, positions
from implicitkit_sair.semantic.dropping import Kept

CELLS = (3, 4)
KEEP = torch.tensor(
    [
        [[1, 0, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]],
        [[0, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]],
        [[1, 1, 0, 1], [1, 1, 0, 1], [1, 0, 1, 1]],
        [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    ]
).bool()


def hidden(block: Any, x: Tensor, keep: Tensor, mode: str) -> Tensor:
    """A block on all tokens ``(1 + N, C)``, none of which looks at a patch that is not in ``keep`` ``(N,)``."""
    heads = block.attn.num_heads
    q, k, v = F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, dim=-1)
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(0, 1) for part in (q, k, v))
    gone = torch.where(torch.cat([torch.ones(1, dtype=torch.bool), keep]), 0.0, -torch.inf).to(x)
    window = F.pad(gaussian_window(CELLS), (1, 0, 1, 0)).to(x)
    scale = q.shape[-1] ** -0.5
    logits = {
        "vanilla": [q @ k.mT * scale],
        "maskclip": [torch.where(torch.eye(len(x)).bool(), 0.0, -torch.inf).to(x).expand(heads, -1, -1)],
        "sclip": [q @ q.mT * scale, k @ k.mT * scale],
        "clearclip": [q @ q.mT * scale],
        "naclip": [k @ k.mT * scale + window],
    }[mode]
    hides = 0 if mode == "maskclip" else gone  # which looks at nothing else
    seen = sum(((part + hides).softmax(-1) @ v for part in logits), torch.zeros_like(v))
    attended = block.ls_1(block.attn.out_proj(seen.transpose(0, 1).flatten(1)))
    if mode in ("clearclip", "naclip"):
        return attended
    y = x + attended
    return y + block.ls_2(block.mlp(block.ln_2(y)))


@torch.no_grad()
@pytest.mark.parametrize("mode", MODES)
def test_dropped_patches_are_as_good_as_hidden(mode: Any) -> None:
    net = build(VIT).visual.double()
    x = torch.randn(4, 3, 8 * CELLS[0], 8 * CELLS[1], dtype=torch.float64)
    kept = Kept.of(KEEP)
    assert kept is not None
    found, pooled = dense_vit(net, x, mode, kept), pooled_vit(net, x, kept)
    table = positions(net.positional_embedding, net.grid_size, CELLS)
    for k in range(4):
        keep = KEEP[k].flatten()
        patches = net.conv1(x[k : k + 1])[0].flatten(1).T
        tokens = net.ln_pre(torch.cat([net.class_embedding[None], patches]) + table)
        *blocks, last = net.transformer.resblocks
        for block in blocks:
            tokens = hidden(block, tokens, keep, "vanilla")
        expected = (net.ln_post(hidden(last, tokens, keep, mode)[1:]) @ net.proj) * keep[:, None]
        torch.testing.assert_close(found[k].flatten(1).T, expected, atol=1e-7, rtol=0)  # the window is float32
        if keep.any():  # one that keeps nothing shows its class token a patch all the same
            whole = net.ln_post(hidden(last, tokens, keep, "vanilla")[:1]) @ net.proj
            torch.testing.assert_close(pooled[k], whole[0], atol=1e-10, rtol=0)


@torch.no_grad()
def test_with_nothing_missing_it_is_the_plain_one() -> None:
    assert Kept.of(torch.ones(2, 3, 4).bool()) is None
    plain, drops = (
        ik.create_encoder({"name": "clip", "model": VIT, "mask_channels": n, "fill": fill}).eval()
        for n, fill in ((0, "mean"), (1, "drop"))
    )
    drops.net.load_state_dict(plain.net.state_dict())
    x = torch.rand(2, 3, 24, 40)
    found = drops(torch.cat([x, torch.zeros(2, 1, 24, 40)], 1))
    assert torch.equal(found.map, plain(x).map) and torch.equal(found.pooled, plain(x).pooled)


@pytest.mark.parametrize("mode", MODES)
def test_contract(mode: str) -> None:
    encoder = {"name": "clip", "model": VIT, "mode": mode, "fill": "drop", "view": 1.7, "trainable": True}
    spec = {"encoder": encoder, "decoder": {"name": "sir", "reduced": 4, "hidden": [8], "global_token": True}}
    testing.check_model(ik.create_model({**spec, "inputs": ["image", "mask"]}))


@torch.no_grad()
def test_a_view_and_what_is_in_a_hole() -> None:
    encoder = ik.create_encoder({"name": "clip", "model": VIT, "fill": "drop", "view": 2.2, "mask_channels": 1}).eval()
    picture, mask = torch.rand(2, 3, 44, 31), torch.zeros(2, 1, 44, 31)
    mask[0, :, 10:33, 4:25], mask[1, :, :7] = 1, 1
    found = encoder(torch.cat([picture, mask], 1))
    assert found.map.shape == (2, 24, 12, 9) and found.extent == (44, 31) and encoder.stride == 4
    junk = encoder(torch.cat([torch.where(mask > 0, torch.nan, picture), mask], 1))
    assert torch.equal(junk.map, found.map) and torch.equal(junk.pooled, found.pooled)
    assert (found.map.abs().sum(1) == 0).flatten(1).any(1).all() and found.map.isfinite().all()

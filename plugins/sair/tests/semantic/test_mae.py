"""The small ViT: its attention against a literal one, its weights, and what it sees in a hole."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import implicitkit as ik
from implicitkit import testing
from implicitkit_sair.semantic.filling import FILLS
from implicitkit_sair.semantic.mae import FORMAT, MAESmall
from implicitkit_sair.semantic.vit import Block, cells, rotate
from implicitkit_sair.semantic.vit import angles as rotations

SMALL = {"name": "mae_small", "patch": 4, "width": 16, "depth": 2, "heads": 2}


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def literal_block(block: Block, x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """One picture's tokens ``(N, width)``: attention head by head and pair by pair of patches, RoFormer's rotation
    as one complex multiplication per pair of numbers.
    """
    number, width = x.shape
    size = width // block.heads
    q, k, v = block.qkv(block.norm1(x)).split(width, dim=-1)
    seen = torch.zeros_like(x)
    for head in range(block.heads):
        span = slice(head * size, (head + 1) * size)
        for i in range(number):
            logits = []
            for j in range(number):
                product = 0.0
                for pair in range(size // 2):
                    axis, step = divmod(pair, size // 4)
                    speed = 100.0 ** (-step / (size // 4))
                    turn = speed * float(positions[j, axis] - positions[i, axis])
                    one, two = pair, pair + size // 2
                    a = complex(float(q[i, span][one]), float(q[i, span][two]))
                    b = complex(float(k[j, span][one]), float(k[j, span][two]))
                    product += (a.conjugate() * b * complex(math.cos(turn), math.sin(turn))).real
                logits.append(product / math.sqrt(size))
            weights = torch.tensor(logits).softmax(0)
            seen[i, span] = (weights[:, None] * v[:, span]).sum(0)
    x = x + block.out(seen)
    hidden = nn.functional.gelu(block.mlp[0](block.norm2(x)))
    return x + block.mlp[2](hidden)


@torch.no_grad()
def test_a_block_is_the_formula() -> None:
    block = Block(16, 2)
    for parameter in block.parameters():
        parameter.normal_(0, 0.4)
    positions = cells(2, 3)
    x = torch.randn(2, 6, 16)
    found = block(x, positions)
    for b in range(2):
        torch.testing.assert_close(found[b], literal_block(block, x[b], positions), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_only_relative_positions_matter() -> None:
    block = Block(16, 2)
    nn.init.normal_(block.qkv.weight)
    x, positions = torch.randn(1, 12, 16), cells(3, 4)
    moved = block(x, positions + torch.tensor([7.0, 30.0]))
    torch.testing.assert_close(moved, block(x, positions), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(block(x, positions.flip(1)), block(x, positions), atol=1e-3)


def test_rotations_keep_lengths() -> None:
    x = torch.randn(5, 8)
    turned = rotate(x, rotations(cells(1, 5), 8))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(turned[0], x[0])  # the origin


def test_size_and_defaults() -> None:
    with torch.device("meta"):
        encoder = ik.create_encoder("mae_small")
    assert 3_500_000 < count(encoder) < 6_000_000
    assert (encoder.stride, encoder.out_channels, encoder.radius) == (8, 192, None)


def test_it_is_frozen_unless_told_otherwise() -> None:
    frozen = ik.create_model({"encoder": SMALL, "decoder": "bilinear"})
    assert not any(p.requires_grad for p in frozen.encoder.parameters())
    assert all(p.requires_grad for p in frozen.decoder.parameters())
    free = ik.create_model({"encoder": {**SMALL, "trainable": True}, "decoder": "bilinear"})
    assert all(p.requires_grad for p in free.encoder.parameters())


@pytest.mark.parametrize("masks", [0, 1])
def test_it_keeps_the_contract(masks: int) -> None:
    testing.check_encoder({**SMALL, "mask_channels": masks})
    testing.check_encoder(ik.create_encoder({**SMALL, "out_channels": 6, "mask_channels": masks, "largest": 16}))


@torch.no_grad()
def test_any_size_and_positions_on_the_grid() -> None:
    encoder = ik.create_encoder(SMALL).eval()
    x = torch.rand(1, 3, 9, 14)
    features = encoder(x)
    assert features.map.shape == (1, 16, 3, 4) and features.extent == (12, 16)
    padded = torch.cat([x, x[:, :, [8, 7, 6]]], 2)
    padded = torch.cat([padded, padded[..., [13, 12]]], 3) * 2 - 1
    tokens = torch.stack(
        [
            encoder.embed(padded[..., 4 * i : 4 * i + 4, 4 * j : 4 * j + 4])[0, :, 0, 0]
            for i in range(3)
            for j in range(4)
        ]
    )
    expected = encoder.attend(tokens[None], cells(3, 4))[0]
    torch.testing.assert_close(features.map[0, :, 1, 2], expected[1 * 4 + 2], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_large_pictures_are_seen_shrunk() -> None:
    encoder = ik.create_encoder({**SMALL, "largest": 16}).eval()
    flat = torch.full((1, 3, 64, 32), 0.3)
    assert encoder(flat).map.shape == (1, 16, 16, 8)
    small = ik.create_encoder({**SMALL, "largest": 16}).eval()
    small.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(
        encoder(flat).map[..., 8, 4], small(flat[..., :16, :8]).map[..., 2, 1], atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("fill", [fill for fill in FILLS if fill != "drop"])
@torch.no_grad()
def test_what_is_in_the_hole_is_not_seen(fill: str) -> None:
    encoder = ik.create_encoder({**SMALL, "mask_channels": 1, "fill": fill}).eval()
    x = torch.rand(1, 4, 16, 16)
    x[:, 3] = 0
    whole = encoder(x).map
    without = ik.create_encoder(SMALL).eval()
    without.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(whole, without(x[:, :3]).map)
    x[:, 3, 4:12, 4:12] = 1
    other = x.clone()
    other[:, :3, 4:12, 4:12] = torch.rand(1, 3, 8, 8)
    assert torch.equal(encoder(x).map, encoder(other).map)
    assert not torch.allclose(encoder(x).map, whole, atol=1e-3)
    if fill == "zero":
        other[:, :3, 4:12, 4:12] = 0
        torch.testing.assert_close(encoder(x).map, without(other[:, :3]).map)


def weights_file(folder: Path, **architecture: int) -> tuple[Path, MAESmall]:
    encoder = MAESmall(**{"patch": 4, "width": 16, "depth": 2, "heads": 2, **architecture})
    metadata = {"format": FORMAT, "architecture": json.dumps(encoder.architecture)}
    save_file(encoder.state_dict(), str(folder / "mae.safetensors"), metadata)
    return folder / "mae.safetensors", encoder


def test_weights_come_from_a_file_and_stay_in_the_model(tmp_path: Path) -> None:
    file, encoder = weights_file(tmp_path)
    spec = {**SMALL, "weights": str(file)}
    filled = ik.create_encoder(spec)
    assert all(torch.equal(a, b) for a, b in zip(filled.parameters(), encoder.parameters(), strict=True))
    assert "weights" not in filled.spec
    model = ik.create_model({"encoder": spec, "decoder": "bilinear"}).eval()
    saved = model.save(tmp_path / "model.safetensors")
    file.unlink()
    picture = torch.rand(3, 10, 11)
    loaded = ik.load_model(saved)
    assert torch.equal(loaded.encode(picture).render((9, 9)), model.encode(picture).render((9, 9)))


def test_a_file_brings_its_architecture(tmp_path: Path) -> None:
    file, encoder = weights_file(tmp_path, out_channels=10)
    filled = ik.create_encoder("mae_small", weights=str(file))
    assert all(torch.equal(a, b) for a, b in zip(filled.parameters(), encoder.parameters(), strict=True))
    assert (filled.stride, filled.out_channels, len(filled.blocks)) == (4, 10, 2)
    numbers = {"patch": 4, "width": 16, "depth": 2, "heads": 2, "out_channels": 10}
    assert filled.spec == {"name": "mae_small", **numbers}  # what is needed once the file is gone
    assert ik.create_encoder("mae_small", weights=str(file), **numbers).architecture == numbers
    assert ik.create_encoder("mae_small", width=16, heads=2, depth=1).out_channels == 16
    model = ik.create_model({"encoder": {"name": "mae_small", "weights": str(file)}, "decoder": "bilinear"}).eval()
    saved = model.save(tmp_path / "model.safetensors")
    file.unlink()
    picture = torch.rand(3, 10, 11)
    assert torch.equal(ik.load_model(saved).encode(picture).render((9, 9)), model.encode(picture).render((9, 9)))


def test_wrong_weights_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ik.WeightsError, match=r"there is no file nowhere.safetensors; implicitkit pretrain-mae FOLDER"):
        ik.create_encoder({**SMALL, "weights": "nowhere.safetensors"})
    file, _ = weights_file(tmp_path)
    with pytest.raises(
        ik.WeightsError, match="another mae_small: width is 16 there and 24 here, heads is 2 there and 3"
    ):
        ik.create_encoder({**SMALL, "width": 24, "heads": 3, "weights": str(file)})
    with pytest.raises(ik.WeightsError, match="out_channels is 16 there and 8 here; leave out what the file says"):
        ik.create_encoder("mae_small", out_channels=8, weights=str(file))
    save_file({"x": torch.zeros(1)}, str(file), {"format": FORMAT, "architecture": '{"patch": 4}'})
    with pytest.raises(ik.WeightsError, match=r"its metadata is damaged \(KeyError: 'width'\)"):
        ik.create_encoder("mae_small", weights=str(file))
    save_file({"x": torch.zeros(1)}, str(file))
    with pytest.raises(ik.WeightsError, match=r"holds no weights of mae_small \(its format: none\)"):
        ik.create_encoder({**SMALL, "weights": str(file)})
    file.write_bytes(b"junk")
    with pytest.raises(ik.WeightsError, match="not a whole safetensors file"):
        ik.create_encoder({**SMALL, "weights": str(file)})


def test_bad_numbers_are_named() -> None:
    with pytest.raises(ValueError, match=r"received width 192 and 5 heads, so make width a multiple of 20"):
        ik.create_encoder("mae_small", heads=5)
    with pytest.raises(ValueError, match=r"mask_channels 0 or 1.*received 8, 192, 8, 192, 2 and 512"):
        ik.create_encoder("mae_small", mask_channels=2)
    with pytest.raises(ik.ArgumentError, match="fill"):
        ik.create_encoder("mae_small", fill="red")
    with pytest.raises(ValueError, match=r"fill is one of mean, zero, blur, .*; received 'red'"):
        MAESmall(fill="red")  # type: ignore[arg-type]
    with pytest.raises(ik.UserError, match="mae_small has none to leave out; use fill: blur"):
        ik.create_encoder("mae_small", fill="drop")

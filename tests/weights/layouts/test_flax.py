"""Thera's checkpoints, in flax's names and layouts."""

from pathlib import Path

import pytest
import torch

import implicitkit as ik
from implicitkit.create import build_checkpoint
from implicitkit.weights.authors import recognise
from implicitkit.weights.layouts.flax import from_flax
from oracles.states import random_state


def test_kernels_are_turned_round() -> None:
    theirs = {"params/a/layers_1/kernel": torch.rand(3, 3, 4, 8), "params/b/Dense_0/kernel": torch.rand(4, 8)}
    ours = from_flax({**theirs, "params/c/scale": torch.rand(3), "params/k": torch.rand(())})
    assert list(ours) == ["a.1.weight", "b.Dense_0.weight", "c.weight", "k"]
    assert float(ours["a.1.weight"][7, 2, 0, 1]) == float(theirs["params/a/layers_1/kernel"][0, 1, 2, 7])
    assert torch.equal(ours["b.Dense_0.weight"], theirs["params/b/Dense_0/kernel"].t())


@pytest.mark.parametrize(("size", "neck", "waves"), [("air", None, 32), ("plus", "thera_plus", 512)])
def test_thera_at_its_published_size(size: str, neck: str | None, waves: int) -> None:
    state = random_state(f"thera-edsr-baseline-{size}")
    model = build_checkpoint(recognise(state, "x"), "x")
    decoder, kernel = model.decoder, state["params/out_conv/kernel"][0, 0]
    assert decoder.components == waves and torch.equal(decoder.frequencies.t(), state["params/components"])
    assert torch.equal(decoder.hyper.weight[3, :, 0, 0], kernel[:, 3 * waves + 3])  # the phase of wave 3
    assert torch.equal(decoder.hyper.weight[waves * 3 + 5, :, 0, 0], kernel[:, 3 * 5 + 2])  # its wave 5, blue
    assert [part["name"] for part in [model.spec.get("neck")] if part] == ([neck] if neck else [])
    assert model.encoder.mean == [0.4488, 0.4371, 0.404] and model.encoder.body[0].res_scale == 1


def test_thera_pro_at_its_published_size() -> None:
    state = random_state("thera-edsr-baseline-pro")
    spec = recognise(state, "x").spec
    assert spec["neck"] == {
        "name": "thera_pro",
        "channels": 180,
        "depths": [7, 6],
        "heads": [6, 6],
        "window": 8,
        "mlp_ratio": 2.0,
        "out_channels": 64,
    }
    model = build_checkpoint(recognise(state, "x"), "x")
    block = "params/refine/RSTB_1/BasicLayer_0/SwinTransformerBlock_5/WindowAttention_0/qkv/kernel"
    assert torch.equal(model.necks[0].groups[1].blocks[5].attention.qkv.weight, state[block].t())


def test_a_file_of_ours_keeps_what_theirs_needs(tmp_path: Path) -> None:
    model = build_checkpoint(recognise(random_state("thera-edsr-baseline-air"), "x"), "x")
    again = ik.load_model(model.save(tmp_path / "m.safetensors"))
    assert again.encoder.std == model.encoder.std and again.decoder.shift == model.decoder.shift
    assert again.decoder.square_cells

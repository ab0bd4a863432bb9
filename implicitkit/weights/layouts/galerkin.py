"""Decoders with attention over all points in other repositories: SRNO and HIIF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from implicitkit.weights.layouts.base import DecoderLayout, Rules, Tensors, as_linear

ATTENTION = (
    (r"conv(\d)\.qkv_proj\.", r"attentions.\1.qkv."),
    (r"conv(\d)\.(?:o_)?proj1\.", r"attentions.\1.first."),
    (r"conv(\d)\.(?:o_)?proj2\.", r"attentions.\1.second."),
    (r"conv(\d)\.kln\.", r"attentions.\1.norm_key."),
    (r"conv(\d)\.vln\.", r"attentions.\1.norm_value."),
)


def _srno_rules(tensors: Tensors) -> Rules:
    return (*ATTENTION, (r"conv00\.", "first."), (r"fc1\.", "hidden."), (r"fc2\.", "last."))


def _srno(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    return {
        "name": "srno",
        "width": tensors["first.weight"].shape[0],
        "heads": tensors["attentions.0.norm_key.weight"].shape[0],
        "out_channels": tensors["last.weight"].shape[0],
    }


def _without_middle(tensors: dict[str, Tensor], features: int) -> dict[str, Tensor]:
    """Normalisations ``(heads, 1, width)`` as ``(heads, width)``, and 1x1 convolutions as linear layers."""
    return as_linear({key: value.squeeze(1) if "norm_" in key else value for key, value in tensors.items()})


def _hiif_rules(tensors: Tensors) -> Rules:
    level = r"fc_layers\.(\d)\."
    inner = ((level + rf"{theirs}\.", rf"levels.\1.{ours}.") for theirs, ours in (("norm", 0), ("fc1", 1), ("fc2", 3)))
    return (*ATTENTION, (r"freq\.", "features."), *inner)


def _hiif(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    width = tensors["features.weight"].shape[0]
    return {
        "name": "hiif",
        "width": width,
        "heads": width // tensors["attentions.0.norm_key.weight"].shape[0],
        "out_channels": tensors["levels.5.3.weight"].shape[0],
    }


DECODERS = (
    DecoderLayout(
        "SRNO",
        ("sronet", "srno"),
        lambda tensors: "conv00.weight" in tensors and "conv0.qkv_proj.weight" in tensors,
        "conv00.weight, conv{0,1}.qkv_proj.weight, fc{1,2}.weight",
        _srno_rules,
        _srno,
        authors="2y7c3/Super-Resolution-Neural-Operator",
        after=_without_middle,
    ),
    DecoderLayout(
        "HIIF",
        ("hiif",),
        lambda tensors: "fc_layers.0.fc1.weight" in tensors and "conv0.qkv_proj.weight" in tensors,
        "freq.weight, fc_layers.N.fc{1,2}.weight, conv{0,1}.qkv_proj.weight",
        _hiif_rules,
        _hiif,
        authors="YuxuanJJ/HIIF",
        after=as_linear,
    ),
)

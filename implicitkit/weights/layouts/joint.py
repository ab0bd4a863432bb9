"""Decoders with a joint view of a point's cells in other repositories: LINF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from implicitkit.weights.layouts.base import DecoderLayout, Rules, Tensors, as_linear, numbers

COLOURS = 3  # LINF's flow of a pixel; that of a patch has more values


def _is_linf(tensors: Tensors) -> bool:
    last = tensors.get("imnet.last._weight")
    return last is not None and len(last) == COLOURS


def _linf_rules(tensors: Tensors) -> Rules:
    return ((r"coef\.", "amplitude."), (r"freq\.", "frequency."), (r"layers\.", "mlp."))


def with_flow(tensors: dict[str, Tensor], features: int) -> dict[str, Tensor]:
    """The linear maps of a flow, which are tensors of their own, stacked: the last one behind the others."""
    layers = [f"imnet.linears.{k}" for k in numbers(tensors, r"imnet\.linears\.(\d+)\._weight")] + ["imnet.last"]
    stacked = {
        "flow.weight": torch.stack([tensors[f"{layer}._weight"] for layer in layers]),
        "flow.bias": torch.stack([tensors[f"{layer}.bias"] for layer in layers]),
    }
    return as_linear({key: value for key, value in tensors.items() if not key.startswith("imnet.")} | stacked)


def _linf(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    return {
        "name": "linf",
        "width": tensors["amplitude.weight"].shape[0],
        "depth": len(numbers(tensors, r"mlp\.(\d+)\.weight")) - 1,
        "flow_layers": len(tensors["flow.weight"]) - 1,
        "out_channels": tensors["flow.weight"].shape[1],
    }


DECODERS = (
    DecoderLayout(
        "LINF",
        ("linf",),
        _is_linf,
        "{coef,freq,phase}.weight, layers.N.weight, imnet.linears.N._weight",
        _linf_rules,
        _linf,
        authors="JNNNNYao/LINF",
        after=with_flow,
    ),
)

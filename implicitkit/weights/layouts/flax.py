"""Thera as its authors store it: flax's names and layouts, joined by slashes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from implicitkit.weights.layouts.base import DecoderLayout, NeckLayout, Rules, Tensors, as_linear, numbers

MEAN = (0.4488, 0.4371, 0.404)
VARIANCE = 0.25 + 1e-5  # of their ``standardize``
PREFIX = "params/"


def from_flax(tensors: Tensors) -> dict[str, Tensor]:
    """Parameters ``params/a/layers_0/kernel`` under PyTorch's names and in its layouts: ``a.0.weight``.

    >>> import torch
    >>> {k: tuple(v.shape) for k, v in from_flax({"params/head/layers_0/kernel": torch.zeros(3, 3, 4, 8)}).items()}
    {'head.0.weight': (8, 4, 3, 3)}
    """
    ours = {}
    for key, value in tensors.items():
        name, _, kind = key.removeprefix(PREFIX).replace("/", ".").replace("layers_", "").rpartition(".")
        if kind == "kernel":
            value = value.permute(3, 2, 0, 1).contiguous() if value.ndim == 4 else value.t().contiguous()
        kind = "weight" if kind in ("kernel", "scale") else kind
        ours[f"{name}.{kind}" if name else kind] = value
    return ours


def _rules(tensors: Tensors) -> Rules:
    return ((r"components$", "frequencies"), (r"k$", "diffusivity"), (r"out_conv\.", "hyper."))


def _phases_first(tensors: dict[str, Tensor], features: int) -> dict[str, Tensor]:
    """Theirs gives amplitudes wave by wave, then phases; ours phases, then amplitudes colour by colour."""
    waves = tensors["frequencies"].shape[1]
    amplitudes = torch.arange(3 * waves).reshape(waves, 3).t().flatten()
    order = torch.cat([torch.arange(3 * waves, 4 * waves), amplitudes])
    hyper = {key: tensors[key][order.to(tensors[key].device)] for key in ("hyper.weight", "hyper.bias")}
    return {**tensors, **hyper, "frequencies": tensors["frequencies"].t().contiguous()}


def _thera(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    return {
        "name": "thera",
        "components": len(tensors["frequencies"]),
        "shift": [2 * value for value in MEAN],
        "square_cells": True,
    }


def _plus_rules(tensors: Tensors) -> Rules:
    return (
        (r"(\d+)\.residual\.0\.", r"layers.\1.depthwise."),
        (r"(\d+)\.residual\.1\.", r"layers.\1.norm."),
        (r"(\d+)\.residual\.2\.", r"layers.\1.widen."),
        (r"(\d+)\.residual\.4\.", r"layers.\1.narrow."),
        (r"(\d+)\.LayerNorm_0\.", r"layers.\1.norm."),
        (r"(\d+)\.Conv_0\.", r"layers.\1.linear."),
    )


def _plus(tensors: Tensors) -> dict[str, Any]:
    stages: list[list[int]] = []
    for k in numbers(tensors, r"layers\.(\d+)\.depthwise\.weight"):
        width = len(tensors[f"layers.{k}.depthwise.weight"])
        if not stages or stages[-1][0] != width:
            stages.append([width, 0])
        stages[-1][1] += 1
    return {"name": "thera_plus", "blocks": stages}


def _pro_rules(tensors: Tensors) -> Rules:
    block = r"RSTB_(\d+)\.BasicLayer_0\.SwinTransformerBlock_(\d+)\."
    inner = (
        (r"LayerNorm_0\.", "norm1."),
        (r"LayerNorm_1\.", "norm2."),
        (r"Mlp_0\.Dense_0\.", "mlp.0."),
        (r"Mlp_0\.Dense_1\.", "mlp.2."),
        (r"WindowAttention_0\.qkv\.", "attention.qkv."),
        (r"WindowAttention_0\.proj\.", "attention.out."),
        (r"WindowAttention_0\.relative_position_bias_table", "attention.bias"),
    )
    return (
        *((block + theirs, rf"groups.\1.blocks.\2.{ours}") for theirs, ours in inner),
        (r"RSTB_(\d+)\.Conv_0\.", r"groups.\1.conv."),
        (r"PatchEmbed_0\.LayerNorm_0\.", "norm_in."),
        (r"LayerNorm_0\.", "norm_out."),
        (r"Conv_0\.", "first."),
        (r"Conv_1\.", "last."),
        (r"Conv_2\.", "project."),
    )


def _pro(tensors: Tensors) -> dict[str, Any]:
    groups = numbers(tensors, r"groups\.(\d+)\.conv\.weight")
    biases = [tensors[f"groups.{k}.blocks.0.attention.bias"].shape for k in groups]
    channels = len(tensors["first.weight"])
    return {
        "name": "thera_pro",
        "channels": channels,
        "depths": [len(numbers(tensors, rf"groups\.{k}\.blocks\.(\d+)\.norm1\.weight")) for k in groups],
        "heads": [heads for _, heads in biases],
        "window": (math.isqrt(biases[0][0]) + 1) // 2,
        "mlp_ratio": len(tensors["groups.0.blocks.0.mlp.0.weight"]) / channels,
        "out_channels": len(tensors["project.weight"]),
    }


NECKS = (
    NeckLayout("0.residual.0.weight", _plus_rules, _plus, as_linear),
    NeckLayout("RSTB_0.Conv_0.weight", _pro_rules, _pro),
)
DECODERS = (
    DecoderLayout(
        "Thera",
        ("thera",),
        lambda tensors: "components" in tensors and "out_conv.weight" in tensors,
        "params/components, params/k, params/out_conv/kernel, params/refine/...",
        _rules,
        _thera,
        authors="prs-eth/thera",
        after=_phases_first,
        encoder={"mean": list(MEAN), "std": math.sqrt(VARIANCE), "res_scale": 1.0},
    ),
)

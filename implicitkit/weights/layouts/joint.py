"""Decoders with a joint view of a point's cells in other repositories: LINF and its patches, CLIT, LIWT, CiaoSR."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from implicitkit.errors import WeightsError
from implicitkit.weights.layouts.base import DecoderLayout, Rules, Tensors, as_linear, numbers

COLOURS = 3  # LINF's flow of a pixel; that of a patch has more values


def _is_linf(tensors: Tensors) -> bool:
    last = tensors.get("imnet.last._weight")
    return last is not None and len(last) == COLOURS


def _is_linf_patch(tensors: Tensors) -> bool:
    last = tensors.get("imnet.last._weight")
    return last is not None and len(last) > COLOURS


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


def _linf_patch(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    values = tensors["flow.weight"].shape[1]
    patch = math.isqrt(values // COLOURS)
    if values != COLOURS * patch**2:
        raise WeightsError(f"its flow has {values} values, which are no square patch of {COLOURS} colours")
    rest = {**_linf(tensors, args, features), "name": "linf_patch", "out_channels": COLOURS}
    return {**rest, "patch": patch, "authors_ends": True}


def _clit_rules(tensors: Tensors) -> Rules:
    return (
        (r"conv_ch\.", "lift."),
        (r"conv_vs\.", "contents."),
        (r"conv_qs\.", "queries."),
        (r"conv_ks\.", "keys."),
        (r"pb_encoder\.proj\.", "places.project."),
        (r"imnets\.(\d+)\.layers\.", r"mlps.\1."),
    )


def _hidden(tensors: Tensors, mlp: str) -> list[int]:
    """The widths of an MLP's layers but the last."""
    return [tensors[f"{mlp}{k}.weight"].shape[0] for k in numbers(tensors, rf"{re.escape(mlp)}(\d+)\.weight")[:-1]]


def _clit(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    width, (heads, waves) = tensors["lift.weight"].shape[0], tensors["places.project.weight"].shape
    window = math.isqrt((tensors["mlps.0.0.weight"].shape[1] - 2) // width)
    stages = numbers(tensors, r"mlps\.(\d+)\.0\.weight")
    return {
        "name": "clit",
        "width": width,
        "heads": heads,
        "radius": (window - 1) // 2,
        "hidden": _hidden(tensors, "mlps.0."),
        "stages": len(stages),
        "waves": waves,
    }


HAAR = ("LL.", "LH.", "HL.", "HH.")  # fixed filters, which ours are too
UNUSED_LAYERS = "imnet_wave."  # layers that the authors' model never calls


def _liwt_rules(tensors: Tensors) -> Rules:
    blocks = [
        (rf"encoder_wave\.body{k + 1}\.{theirs}", f"branch.blocks.{k}.{ours}")
        for k in range(4)
        for theirs, ours in (
            (r"bodyl\.0\.LFE\.0\.", "plain."),
            (r"bodyl\.0\.HFE\.1\.", "pooled."),
            (r"bodyl\.0\.convout\.", "low."),
            (r"body\.", "high."),
            (r"convout\.", "join."),
        )
    ]
    return (
        *blocks,
        (r"encoder_wave\.headl\.0\.", "branch.low."),
        (r"encoder_wave\.head\.0\.", "branch.high."),
        (r"encoder_wave\.convout\.", "branch.join."),
        (r"wave_Q\.", "query_of."),
        (r"conv_k\.", "key_of."),
        (r"conv_v\.", "content_of."),
        (r"conv_head\.", "fuse."),
        (r"fc_1\.", "gate.0."),
        (r"fc_2\.", "gate.2."),
        (r"pb_encoder\.proj\.", "places.project."),
        (r"proj\.", "mix."),
        (r"imnet\.layers\.", "mlp."),
    )


def _without_filters(tensors: dict[str, Tensor], features: int) -> dict[str, Tensor]:
    return {key: value for key, value in tensors.items() if not key.startswith((*HAAR, UNUSED_LAYERS))}


def _liwt(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    heads, waves = tensors["places.project.weight"].shape
    return {"name": "liwt", "heads": heads, "waves": waves, "hidden": _hidden(tensors, "mlp.")}


CIAOSR_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K; they subtract it and divide by nothing


def _ciaosr_rules(tensors: Tensors) -> Rules:
    return (
        (r"imnet_q\.layers\.", "of_query."),
        (r"imnet_k\.layers\.", "of_key."),
        (r"imnet_v\.layers\.", "of_value."),
        (r"cs_attn\.conv_match_1\.", "non_local.wanted."),
        (r"cs_attn\.conv_match_2\.", "non_local.offered."),
        (r"cs_attn\.conv_assembly\.", "non_local.content."),
        (r"cs_attn\.down\.", "non_local.down."),
    )


def _without_constant(tensors: dict[str, Tensor], features: int) -> dict[str, Tensor]:
    return {key: value for key, value in tensors.items() if key != "cs_attn.escape_NaN"}


def _ciaosr(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    return {
        "name": "ciaosr",
        "hidden": _hidden(tensors, "of_query."),
        "non_local": "non_local.down.weight" in tensors,
        "out_channels": tensors[f"of_query.{numbers(tensors, r'of_query.([0-9]+).weight')[-1]}.weight"].shape[0],
    }


DECODERS = (
    DecoderLayout(
        "CiaoSR",
        ("ciaosr",),
        lambda tensors: "imnet_q.layers.0.weight" in tensors,
        "imnet_{q,k,v}.layers.N.weight, cs_attn.*",
        _ciaosr_rules,
        _ciaosr,
        authors="caojiezhang/CiaoSR",
        after=_without_constant,
        encoder={"mean": list(CIAOSR_MEAN), "std": 1.0},
    ),
    DecoderLayout(
        "CLIT",
        ("clit", "clit-liif"),
        lambda tensors: "imnets.0.layers.0.weight" in tensors and "conv_ch.weight" in tensors,
        "conv_ch.weight, conv_{v,q,k}s.N.weight, imnets.N.layers.M.weight",
        _clit_rules,
        _clit,
        authors="jaroslaw1007/CLIT",
    ),
    DecoderLayout(
        "LIWT",
        ("liwt",),
        lambda tensors: "wave_Q.weight" in tensors,
        "encoder_wave.*, wave_Q.weight, conv_{k,v,head}.weight, fc_{1,2}.weight, imnet.layers.N.weight",
        _liwt_rules,
        _liwt,
        authors="dmhdmhdmh/LIWT",
        after=_without_filters,
    ),
    DecoderLayout(
        "LINF of patches",
        ("linf", "linf-patch"),
        _is_linf_patch,
        "{coef,freq,phase}.weight, layers.N.weight, imnet.linears.N._weight of more than 3 values",
        _linf_rules,
        _linf_patch,
        authors="JNNNNYao/LINF",
        after=with_flow,
    ),
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

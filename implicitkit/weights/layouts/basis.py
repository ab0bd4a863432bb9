"""Decoders that are linear in the latent in other repositories: OPE-SR and GB-LSR (Thera: see ``flax``)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from implicitkit.weights.layouts.base import DecoderLayout, Rules, Tensors, no_rules

COLOURS = "RGB"


def _ope(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    adapted = tensors.get("adapt.weight")
    count = features if adapted is None else len(adapted)
    terms = math.isqrt(count // len(COLOURS))
    return {"name": "ope", "max_frequency": (terms - 1) // 2, "adapt": adapted is not None}


def _joined(tensors: dict[str, Tensor], features: int) -> dict[str, Tensor]:
    """The three colours' convolutions as one."""
    if not tensors:
        return tensors
    return {f"adapt.{kind}": torch.cat([tensors[f"adapt_{c}.{kind}"] for c in COLOURS]) for kind in ("weight", "bias")}


def _gb_lsr_rules(tensors: Tensors) -> Rules:
    return ((r"decoder\.log_s_e$", "bandwidth"), (r"decoder\.coeff_proj\.", "project."))


def _gb_lsr(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    ensemble = {**args, **(args.get("decoder_cfg") or {})}.get("local_ensemble", True)
    order = math.isqrt(len(tensors["project.weight"]) // len(COLOURS))
    return {"name": "gb_lsr", "order": order, "local_ensemble": bool(ensemble)}


def _patches_rules(tensors: Tensors) -> Rules:
    return (
        (r"decoder\.global_s_raw$", "bandwidth"),
        (r"decoder\.coeff_proj\.", "project."),
        (r"decoder\.adaptivity\.proj\.", "cut."),
    )


def _as_convolutions(tensors: dict[str, Tensor], features: int) -> dict[str, Tensor]:
    """Linear layers as 1x1 convolutions; of the head, the order alone: its bandwidth is not used."""
    ours = {key: v[:, :, None, None] if v.ndim == 2 else v for key, v in tensors.items()}
    return {key: v[1:] if key.startswith("cut.") else v for key, v in ours.items()}


def _patches(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    order = math.isqrt(len(tensors["project.weight"]) // len(COLOURS))
    return {
        "name": "gb_lsr_patches",
        "order": order,
        "patch": int(args.get("patch_size", 8)),
        "bandwidths": list(args.get("s_e_range", (0.25, 2.0))),
        "orders": list(args.get("p_soft_range", (1.0, order))),
        "sharpness": float(args.get("cutoff_sharpness", 4.0)),
    }


DECODERS = (
    DecoderLayout(
        "GB-LSR of patches",
        ("gblsr-native",),
        lambda tensors: "decoder.global_s_raw" in tensors,
        "decoder.global_s_raw, decoder.coeff_proj.weight, decoder.adaptivity.proj.weight",
        _patches_rules,
        _patches,
        authors="KempnerInstitute/gblsr",
        after=_as_convolutions,
        scales=(1, 1),
    ),
    DecoderLayout(
        "OPE-SR",
        ("OPE-net", "OPE-net-adapt"),
        lambda tensors: any(key.startswith("srnet.") for key in tensors),
        "srnet.head.0.weight, adapt_{R,G,B}.weight or none",
        no_rules,
        _ope,
        authors="gaochao-s/ope-sr",
        after=_joined,
        scales=(4, 4),
    ),
    DecoderLayout(
        "GB-LSR",
        ("gblsr",),
        lambda tensors: "decoder.log_s_e" in tensors,
        "decoder.log_s_e, decoder.coeff_proj.weight",
        _gb_lsr_rules,
        _gb_lsr,
        authors="KempnerInstitute/gblsr",
        encoder={"mean": 0.0, "std": 1.0},
    ),
)

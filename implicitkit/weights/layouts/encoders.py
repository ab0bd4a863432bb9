"""The encoders of other repositories."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from implicitkit.weights.layouts.base import EncoderLayout, Rules, Tensors, no_rules, numbers


def _edsr(tensors: Tensors, args: Mapping[str, Any]) -> dict[str, Any]:
    channels, in_channels = tensors["head.0.weight"].shape[:2]
    blocks = len(numbers(tensors, r"body\.(\d+)\.body\.0\.weight"))
    published = 1.0 if channels < 256 else 0.1  # the authors' defaults of edsr-baseline and edsr
    return {
        "name": "edsr",
        "blocks": blocks,
        "channels": channels,
        "res_scale": float(args.get("res_scale", published)),
        "in_channels": in_channels,
    }


def _mmagic_edsr(tensors: Tensors, args: Mapping[str, Any]) -> dict[str, Any]:
    return _edsr(tensors, {"res_scale": 1.0})  # mmagic's LIIF configurations do not scale residuals


def _mmagic_edsr_rules(tensors: Tensors) -> Rules:
    last = len(numbers(tensors, r"body\.(\d+)\.conv1\.weight"))
    return (
        (r"conv_first\.", "head.0."),
        (r"body\.(\d+)\.conv1\.", r"body.\1.body.0."),
        (r"body\.(\d+)\.conv2\.", r"body.\1.body.2."),
        (r"conv_after_body\.", f"body.{last}."),
    )


def _rdn(tensors: Tensors, args: Mapping[str, Any]) -> dict[str, Any]:
    channels, in_channels = tensors["shallow.0.weight"].shape[:2]
    return {
        "name": "rdn",
        "depth": len(numbers(tensors, r"blocks\.(\d+)\.fuse\.weight")),
        "convs": len(numbers(tensors, r"blocks\.0\.layers\.(\d+)\.weight")),
        "growth": tensors["blocks.0.layers.0.weight"].shape[0],
        "channels": channels,
        "in_channels": in_channels,
    }


def _rdn_rules(tensors: Tensors) -> Rules:
    return (
        (r"SFENet1\.", "shallow.0."),
        (r"SFENet2\.", "shallow.1."),
        (r"RDBs\.(\d+)\.convs\.(\d+)\.conv\.0\.", r"blocks.\1.layers.\2."),
        (r"RDBs\.(\d+)\.LFF\.", r"blocks.\1.fuse."),
        (r"GFF\.", "fuse."),
    )


def _mmagic_rdn_rules(tensors: Tensors) -> Rules:
    return (
        (r"sfe1\.", "shallow.0."),
        (r"sfe2\.", "shallow.1."),
        (r"rdbs\.(\d+)\.layers\.(\d+)\.conv\.", r"blocks.\1.layers.\2."),
        (r"rdbs\.(\d+)\.lff\.", r"blocks.\1.fuse."),
        (r"gff\.", "fuse."),
    )


def _gblsr_rdn_rules(tensors: Tensors) -> Rules:
    return (
        (r"sfe_1\.", "shallow.0."),
        (r"sfe_2\.", "shallow.1."),
        (r"rdbs\.(\d+)\.dense_layers\.(\d+)\.conv\.", r"blocks.\1.layers.\2."),
        (r"rdbs\.(\d+)\.local_feature_fusion\.", r"blocks.\1.fuse."),
        (r"gff_1x1\.", "fuse.0."),
        (r"gff_3x3\.", "fuse.1."),
    )


def _rcan(tensors: Tensors, args: Mapping[str, Any]) -> dict[str, Any]:
    channels, in_channels = tensors["head.weight"].shape[:2]
    return {
        "name": "rcan",
        "groups": len(numbers(tensors, r"body\.body\.(\d+)\.body\.0\.body\.0\.weight")),
        "blocks": len(numbers(tensors, r"body\.body\.0\.body\.(\d+)\.body\.0\.weight")),
        "channels": channels,
        "reduction": channels // tensors["body.body.0.body.0.body.3.gate.0.weight"].shape[0],
        "in_channels": in_channels,
    }


def _rcan_rules(tensors: Tensors) -> Rules:
    return (
        (r"head\.0\.", "head."),
        (r"body\.(\d+\.body\.\d+\.body\.3)\.conv_du\.", r"body.body.\1.gate."),
        (r"body\.", "body.body."),
    )


def _swinir(tensors: Tensors, args: Mapping[str, Any]) -> dict[str, Any]:
    channels, in_channels = tensors["first.weight"].shape[:2]
    groups = numbers(tensors, r"groups\.(\d+)\.conv\.weight")
    biases = [tensors[f"groups.{k}.blocks.0.attention.bias"].shape for k in groups]
    return {
        "name": "swinir",
        "channels": channels,
        "depths": [len(numbers(tensors, rf"groups\.{k}\.blocks\.(\d+)\.norm1\.weight")) for k in groups],
        "heads": [heads for _, heads in biases],
        "window": (math.isqrt(biases[0][0]) + 1) // 2,
        "mlp_ratio": tensors["groups.0.blocks.0.mlp.0.weight"].shape[0] / channels,
        "out_channels": tensors["project.weight"].shape[0],
        "in_channels": in_channels,
    }


def _swinir_rules(tensors: Tensors) -> Rules:
    block = r"layers\.(\d+)\.residual_group\.blocks\.(\d+)\."
    return (
        (r"conv_first\.", "first."),
        (r"patch_embed\.norm\.", "norm_in."),
        (block + r"attn\.relative_position_bias_table$", r"groups.\1.blocks.\2.attention.bias"),
        (block + r"attn\.qkv\.", r"groups.\1.blocks.\2.attention.qkv."),
        (block + r"attn\.proj\.", r"groups.\1.blocks.\2.attention.out."),
        (block + r"mlp\.fc1\.", r"groups.\1.blocks.\2.mlp.0."),
        (block + r"mlp\.fc2\.", r"groups.\1.blocks.\2.mlp.2."),
        (block, r"groups.\1.blocks.\2."),
        (r"layers\.(\d+)\.conv\.", r"groups.\1.conv."),
        (r"norm\.", "norm_out."),
        (r"conv_after_body\.", "last."),
        (r"conv_before_upsample\.0\.", "project."),
    )


def _patches(tensors: Tensors, args: Mapping[str, Any]) -> dict[str, Any]:
    channels, in_channels = tensors["net.0.weight"].shape[:2]
    convolutions = [k for k in numbers(tensors, r"net\.(\d+)\.weight") if tensors[f"net.{k}.weight"].ndim == 4]
    return {
        "name": "gb_lsr_patches",
        "patch": 2 ** (len(convolutions) - 2),
        "channels": channels,
        "groups": int(args.get("groupnorm", 4)),
        "in_channels": in_channels,
    }


ENCODERS = (
    EncoderLayout(
        "EDSR",
        "body.0.body.0.weight",
        "encoder.head.0.weight, encoder.body.N.body.{0,2}.weight",
        no_rules,
        _edsr,
        "channels",
    ),
    EncoderLayout(
        "EDSR",
        "body.0.conv1.weight",
        "generator.[encoder.]conv_first.weight, generator.[encoder.]body.N.conv{1,2}.weight",
        _mmagic_edsr_rules,
        _mmagic_edsr,
        "channels",
    ),
    EncoderLayout(
        "RDN",
        "SFENet1.weight",
        "encoder.SFENet{1,2}.weight, encoder.RDBs.N.convs.N.conv.0.weight",
        _rdn_rules,
        _rdn,
        "channels",
    ),
    EncoderLayout(
        "RDN",
        "sfe1.weight",
        "generator.[encoder.]sfe{1,2}.weight, generator.[encoder.]rdbs.N.layers.N.conv.weight",
        _mmagic_rdn_rules,
        _rdn,
        "channels",
    ),
    EncoderLayout(
        "RDN",
        "sfe_1.weight",
        "encoder.sfe_{1,2}.weight, encoder.rdbs.N.dense_layers.N.conv.weight",
        _gblsr_rdn_rules,
        _rdn,
        "channels",
    ),
    EncoderLayout(
        "RCAN",
        "body.0.body.0.body.0.weight",
        "encoder.head.0.weight, encoder.body.N.body.N.body.{0,2}.weight",
        _rcan_rules,
        _rcan,
        "channels",
    ),
    EncoderLayout(
        "SwinIR",
        "layers.0.residual_group.blocks.0.attn.qkv.weight",
        "encoder.conv_first.weight, encoder.layers.N.residual_group.blocks.N.attn.qkv.weight",
        _swinir_rules,
        _swinir,
        "out_channels",
    ),
    EncoderLayout(
        "an encoder of patches",
        "net.0.weight",
        "encoder.net.N.weight",
        no_rules,
        _patches,
        "channels",
    ),
)

"""Layouts of other repositories' files: the keys of each encoder and decoder, and our names for them.

A file holds one encoder and one decoder, recognised independently, so every pair works. Tensors are renamed first; the
architecture then follows from their shapes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from implicitkit.errors import WeightsError

Tensors = Mapping[str, Tensor]
Rules = Sequence[tuple[str, str]]
"""Pairs: a regular expression for a key's beginning, and its replacement; the first match counts."""


@dataclass(frozen=True)
class EncoderLayout:
    """An encoder as a repository stores it (keys without ``encoder.``)."""

    title: str
    sign: str
    """A key that no other encoder has."""
    keys: str
    """Its keys, for error messages."""
    rules: Callable[[Tensors], Rules]
    spec: Callable[[Tensors, Mapping[str, Any]], dict[str, Any]]
    """From the tensors, by our names, and the file's arguments."""
    features: str
    """The entry of the spec that is the number of features per cell."""
    unused: Callable[[Tensors], str] = lambda tensors: "(?!)"
    """A pattern of the keys that are left out, for these tensors; by default of none."""


@dataclass(frozen=True)
class DecoderLayout:
    """A decoder as a repository stores it."""

    title: str
    registered: str
    """Its name in the file, if any."""
    sign: Callable[[Tensors], bool]
    keys: str
    rules: Callable[[Tensors], Rules]
    spec: Callable[[Tensors, Mapping[str, Any], int], dict[str, Any]]
    """From the tensors, by our names, the file's arguments and the encoder's features per cell."""


def renamed(tensors: Tensors, rules: Rules) -> dict[str, Tensor]:
    """The tensors by our names; a key that no rule matches keeps its name."""

    def ours(key: str) -> str:
        for pattern, replacement in rules:
            if match := re.match(pattern, key):
                return match.expand(replacement) + key[match.end() :]
        return key

    return {ours(key): value for key, value in tensors.items()}


def numbers(tensors: Tensors, pattern: str) -> list[int]:
    """The sorted numbers in the first group of ``pattern`` over all matching keys.

    >>> numbers({"body.0.weight": None, "body.2.weight": None}, "body[.]([0-9]+)[.]weight")
    [0, 2]
    """
    return sorted({int(match[1]) for key in tensors if (match := re.fullmatch(pattern, key))})


def _no_rules(tensors: Tensors) -> Rules:
    return ()


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


ENCODERS = (
    EncoderLayout(
        "EDSR",
        "body.0.body.0.weight",
        "encoder.head.0.weight, encoder.body.N.body.{0,2}.weight",
        _no_rules,
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
)


def _liif(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    later = numbers(tensors, r"rest\.(\d+)\.weight")
    widths = [tensors["first.weight"].shape[0], *(tensors[f"rest.{k}.weight"].shape[0] for k in later)]
    inputs = tensors["first.weight"].shape[1]
    unfold = inputs >= 9 * features
    geometry = inputs - features * (9 if unfold else 1)
    if geometry not in (2, 4):
        raise WeightsError(f"its first decoder layer takes {inputs} inputs, which no LIIF on {features} features does")
    return {
        "name": "liif",
        "hidden": widths[:-1],
        "out_channels": widths[-1],
        "local_ensemble": bool(args.get("local_ensemble", True)),
        "feat_unfold": unfold,
        "cell_decode": geometry == 4,
    }


def _liif_rules(tensors: Tensors) -> Rules:
    # our first layer is apart, and the numbers of the others count the activations
    layers = numbers(tensors, r"imnet\.layers\.(\d+)\.weight")
    return [(rf"imnet\.layers\.{k}\.", "first." if k == 0 else f"rest.{k - 1}.") for k in layers]


def _lte(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    widths = [tensors[f"mlp.{k}.weight"].shape[0] for k in numbers(tensors, r"mlp\.(\d+)\.weight")]
    return {
        "name": "lte",
        "hidden": widths[:-1],
        "out_channels": widths[-1],
        "basis": tensors["amplitude.weight"].shape[0],
    }


def _lte_rules(tensors: Tensors) -> Rules:
    return (
        (r"coef\.", "amplitude."),
        (r"freq\.", "frequency."),
        (r"phase\.", "phase."),
        (r"(?:imnet\.)?layers\.", "mlp."),
    )


def _lte_plus(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    return {**_lte(tensors, args, features), "name": "lte_plus"}


def _metasr(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    hidden = [tensors[f"hidden.{k}.weight"].shape[0] for k in numbers(tensors, r"hidden\.(\d+)\.weight")]
    values = tensors["matrix.weight"].shape[0]
    if values % (9 * features):
        raise WeightsError(f"its last decoder layer makes {values} values, which no MetaSR on {features} features does")
    return {"name": "metasr", "hidden": hidden, "out_channels": values // (9 * features)}


def _metasr_rules(tensors: Tensors) -> Rules:
    last = numbers(tensors, r"imnet\.layers\.(\d+)\.weight")[-1]
    return ((rf"imnet\.layers\.{last}\.", "matrix."), (r"imnet\.layers\.", "hidden."))


def _first_layer_takes(tensors: Tensors) -> int:
    first = tensors.get("imnet.layers.0.weight")
    return 0 if first is None else first.shape[1]


DECODERS = (
    DecoderLayout(
        "LTE",
        "lte",
        lambda tensors: "coef.weight" in tensors and "imnet.layers.0.weight" in tensors,
        "{coef,freq,phase}.weight, imnet.layers.N.weight",
        _lte_rules,
        _lte,
    ),
    DecoderLayout(
        "LTE+",
        "lte-fast",
        lambda tensors: "coef.weight" in tensors and "layers.0.weight" in tensors,
        "{coef,freq,phase}.weight, layers.N.weight",
        _lte_rules,
        _lte_plus,
    ),
    DecoderLayout(
        "MetaSR",
        "metasr",
        lambda tensors: _first_layer_takes(tensors) == 3,
        "imnet.layers.{0,2}.weight of 3 inputs",
        _metasr_rules,
        _metasr,
    ),
    DecoderLayout(
        "LIIF", "liif", lambda tensors: _first_layer_takes(tensors) > 3, "imnet.layers.N.weight", _liif_rules, _liif
    ),
)

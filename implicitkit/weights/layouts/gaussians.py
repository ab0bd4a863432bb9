"""GSASR's files: one state dict of the encoder and one of the network that makes Gaussians."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from implicitkit.errors import WeightsError
from implicitkit.weights.layouts.base import DecoderLayout, Rules, Tensors, numbers

RECOMPUTED_KEYS = re.compile(r"among\.\d+\.layers\.\d+\.attention\.index")
DEAD_NORMS = {
    "cross": "norm1",
    "among": "norm3",
}  # of queries to a single key: whatever they are, its value is the answer
OUR_HEADS = {"sigma": "sigma", "rho": "rho", "alpha": "opacity", "rgb": "colour", "mean": "offset"}


def _rules(tensors: Tensors) -> Rules:
    attention = (
        (r"relative_position_bias_table$", "bias"),
        (r"relative_position_index$", "index"),
        (r"qhead\.", "query."),
        (r"khead\.", "key."),
        (r"vhead\.", "value."),
        (r"proj\.", "out."),
    )
    rules: list[tuple[str, str]] = []
    for block, ours, theirs, inner in (
        ("window_crossattn_blocks", "cross", "window_cross_attn", _CROSS),
        ("gs_selfattn_blocks", "among", "gs_self_attn", _AMONG),
    ):
        layer, renamed = rf"{block}\.(\d+)\.blocks\.(\d+)\.", rf"{ours}.\1.layers.\2."
        rules += [(layer + rf"{theirs}\.{key}", renamed + "attention." + name) for key, name in attention]
        rules += [(layer + key, renamed + name) for key, name in inner]
        rules += [(layer, renamed), (rf"{block}\.(\d+)\.", rf"{ours}.\1.")]
    return (
        *rules,
        *((rf"mlp_block_{theirs}\.", f"heads.{ours}.") for theirs, ours in OUR_HEADS.items()),
        (r"gs_embedding$", "seed"),
        (r"pos_embedding$", "place"),
        (r"img_feat_proj\.", "project."),
        (r"scale_mlp\.", "scale."),
        (r"UPNet\.", "enlarge."),
    )


_TOLD = (r"gs_cross_attn_scale\.out_proj\.", "told.1."), (r"gs_cross_attn_scale\.", "told.")
_CROSS = (
    *_TOLD,
    (r"mlp_crossattn_scale\.fc1\.", "mlp_told.0."),
    (r"mlp_crossattn_scale\.fc2\.", "mlp_told.2."),
    (r"mlp_crossattn_feature\.fc1\.", "mlp.0."),
    (r"mlp_crossattn_feature\.fc2\.", "mlp.2."),
    (r"norm2\.", "norm_told."),
    (r"norm3\.", "norm."),
    (r"norm4\.", "norm_mlp."),
)
_AMONG = (
    *_TOLD,
    (r"mlp_crossattn\.fc1\.", "mlp_told.0."),
    (r"mlp_crossattn\.fc2\.", "mlp_told.2."),
    (r"mlp_selfattn\.fc1\.", "mlp.0."),
    (r"mlp_selfattn\.fc2\.", "mlp.2."),
    (r"norm4\.", "norm_told."),
    (r"norm1\.", "norm."),
    (r"norm2\.", "norm_mlp."),
)


def _of_values(tensors: dict[str, Tensor], features: int) -> dict[str, Tensor]:
    """Of the attention to the magnification, the values' part alone; see :data:`DEAD_NORMS`."""
    ours = {}
    for key, value in tensors.items():
        if key.endswith(("told.in_proj_weight", "told.in_proj_bias")):
            before, _, kind = key.rpartition("in_proj_")
            ours[f"{before}0.{kind}"] = value.chunk(3)[2]
        elif not RECOMPUTED_KEYS.fullmatch(key) and key.split(".")[4:5] != [DEAD_NORMS.get(key.split(".")[0])]:
            ours[key] = value
    return ours


def _spec(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    def layers(block: str) -> int:
        return len(numbers(tensors, rf"{block}\.0\.layers\.(\d+)\.norm\.weight"))

    def blocks(block: str) -> int:
        return len(numbers(tensors, rf"{block}\.(\d+)\.norm\.weight"))

    for key in (key for key in tensors if key.endswith("attention.index")):
        index, rows = tensors[key], len(tensors[key.removesuffix("index") + "bias"])
        if not 0 <= int(index.min()) <= int(index.max()) < rows:
            raise WeightsError(
                f"its relative_position_index names rows {int(index.min())} to {int(index.max())} of {rows}"
            )
    seeds, cells = tensors["cross.0.layers.0.attention.index"].shape
    return {
        "name": "gsasr",
        "channels": tensors["seed"].shape[1],
        "heads": tensors["cross.0.layers.0.attention.bias"].shape[1],
        "window": math.isqrt(cells),
        "seeds": math.isqrt(seeds),
        "cross_blocks": blocks("cross"),
        "cross_layers": layers("cross"),
        "among_blocks": blocks("among"),
        "among_layers": layers("among"),
    }


def _fitted(encoder: dict[str, Any], decoder: dict[str, Any]) -> dict[str, Any]:
    """Their EDSR computes its long skip and drops it, and pictures are padded to whole windows."""
    if encoder["name"] != "edsr":
        return encoder
    return {**encoder, "long_skip": False, "size_multiple": decoder["window"]}


DECODERS = (
    DecoderLayout(
        "GSASR",
        ("gsasr",),
        lambda tensors: "decoder.gs_embedding" in tensors,
        "decoder.gs_embedding, decoder.window_crossattn_blocks.N...",
        lambda tensors: [(rf"decoder\.{theirs}", ours) for theirs, ours in _rules(tensors)],
        _spec,
        authors="ChrisDud0257/GSASR",
        after=_of_values,
        encoder={"mean": 0.0, "std": 1.0},
        fitted=_fitted,
    ),
)

"""The layout of SPAN's files (hongyuanyu/SPAN): an encoder alone; the tail of one magnification is left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from implicitkit.weights.layouts.base import EncoderLayout, Rules, Tensors, numbers

CHAIN = {"conv.0": "expand", "conv.1": "spatial", "conv.2": "reduce", "sk": "parallel"}


def _unused(tensors: Tensors) -> str:
    folded = "conv_1.sk.weight" not in tensors
    # beside the layers of training, the merged kernels are those of some earlier step
    return r"upsampler\..*|no_norm" if folded else r"upsampler\..*|no_norm|.*\.eval_conv\..*"


def _rules(tensors: Tensors) -> Rules:
    layers = [("conv_1", "first"), ("conv_2", "last")]
    for k, block in enumerate(numbers(tensors, r"block_(\d+)\.c1_r\..*")):
        layers += [(f"block_{block}.c{c}_r", f"blocks.{k}.convs.{c - 1}") for c in (1, 2, 3)]
    rules = [(rf"{theirs}\.{a}\.", f"{ours}.{b}.") for theirs, ours in layers for a, b in CHAIN.items()]
    merged = [(rf"{theirs}\.eval_conv\.", f"{ours}.") for theirs, ours in layers]
    return [*rules, *merged, (r"conv_cat\.", "fuse.")]


def _spec(tensors: Tensors, args: Mapping[str, Any]) -> dict[str, Any]:
    folded = "first.parallel.weight" not in tensors
    channels, in_channels = tensors["first.weight" if folded else "first.parallel.weight"].shape[:2]
    blocks = len({key.split(".")[1] for key in tensors if key.startswith("blocks.")})
    spec = {"name": "span", "channels": channels, "blocks": blocks, "in_channels": in_channels, "folded": folded}
    return {**spec, "mean": 0.0, "value_range": 1.0} if "no_norm" in tensors else spec


ENCODERS = (
    EncoderLayout(
        "SPAN",
        "conv_cat.weight",
        "conv_1.sk.weight, block_N.c{1,2,3}_r.{conv.{0,1,2},sk}.weight (or eval_conv), conv_cat.weight",
        _rules,
        _spec,
        "channels",
        _unused,
    ),
)

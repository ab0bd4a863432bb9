"""GSASR's files: one state dict of the encoder and one of the network that makes Gaussians."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from implicitkit.weights.layouts.base import DecoderLayout, Tensors, no_rules


def _none(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    return {}


DECODERS = (
    DecoderLayout(
        "GSASR",
        ("gsasr",),
        lambda tensors: "decoder.gs_embedding" in tensors,
        "decoder.gs_embedding, decoder.window_crossattn_blocks.N...",
        no_rules,
        _none,
        authors="ChrisDud0257/GSASR",
        encoder={"mean": 0.0, "std": 1.0, "long_skip": False},
        absent=True,
    ),
)

"""The named models: each function returns a spec."""

from __future__ import annotations

from typing import Any


def liif_small() -> dict[str, Any]:
    """The model in the box; what it was trained on and how well it does stands in ``docs/liif_small.md``."""
    return {
        "encoder": {"name": "edsr", "blocks": 6, "channels": 64, "res_scale": 1.0},
        "decoder": {"name": "liif", "hidden": [96, 64, 64], "skip": "bilinear"},
        "scales": [1.2, 4],
    }


def liif_edsr_baseline() -> dict[str, Any]:
    """LIIF at its published size: EDSR-baseline and an MLP of four layers of 256."""
    return {"encoder": "edsr_baseline", "decoder": "liif", "scales": [1, 4]}

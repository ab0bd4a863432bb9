"""The named models: each function returns a spec."""

from __future__ import annotations

from functools import partial
from typing import Any


def liif_small() -> dict[str, Any]:
    """LIIF on a small EDSR; ``docs/liif_small.md`` describes its training and its scores."""
    return {
        "encoder": {"name": "edsr", "blocks": 6, "channels": 64, "res_scale": 1.0},
        "decoder": {"name": "liif", "hidden": [96, 64, 64], "skip": "bilinear"},
        "scales": [1.2, 4],
    }


def fast() -> dict[str, Any]:
    """SPAN with Thera, the default; ``docs/fast.md`` describes its training and its scores."""
    return {
        "encoder": {"name": "span", "channels": 48, "blocks": 6, "value_range": 16, "folded": True},
        "decoder": {"name": "thera", "components": 32, "max_frequency": 4, "skip": "bilinear"},
        "scales": [1, 4],
    }


def published(encoder: str | dict[str, Any], decoder: str) -> dict[str, Any]:
    """A pair as its authors published it, trained up to ×4.

    >>> published("rdn", "liif")
    {'encoder': 'rdn', 'decoder': 'liif', 'scales': [1, 4]}
    """
    return {"encoder": encoder, "decoder": decoder, "scales": [1, 4]}


SWINIR = {"name": "swinir", "drop_path": 0.1}  # as the authors trained it

liif_edsr_baseline = partial(published, "edsr_baseline", "liif")
liif_rdn = partial(published, "rdn", "liif")
liif_swinir = partial(published, SWINIR, "liif")
lte_edsr_baseline = partial(published, "edsr_baseline", "lte")
lte_rdn = partial(published, "rdn", "lte")
lte_swinir = partial(published, SWINIR, "lte")
lte_plus_edsr_baseline = partial(published, "edsr_baseline", "lte_plus")
metasr_edsr_baseline = partial(published, "edsr_baseline", "metasr")
metasr_rdn = partial(published, "rdn", "metasr")
metasr_swinir = partial(published, SWINIR, "metasr")

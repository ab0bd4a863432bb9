"""The named models: each function returns a spec."""

from __future__ import annotations

from typing import Any


def liif_small() -> dict[str, Any]:
    """The model that ships with the package; ``docs/liif_small.md`` describes its training and its scores."""
    return {
        "encoder": {"name": "edsr", "blocks": 6, "channels": 64, "res_scale": 1.0},
        "decoder": {"name": "liif", "hidden": [96, 64, 64], "skip": "bilinear"},
        "scales": [1.2, 4],
    }


def liif_edsr_baseline() -> dict[str, Any]:
    """LIIF at its published size: EDSR-baseline and an MLP of four layers of 256."""
    return _published("edsr_baseline", "liif")


def liif_rdn() -> dict[str, Any]:
    """LIIF with RDN (configuration B)."""
    return _published("rdn", "liif")


def liif_swinir() -> dict[str, Any]:
    """LIIF with SwinIR, as LTE's authors compare with."""
    return _published(SWINIR, "liif")


def lte_edsr_baseline() -> dict[str, Any]:
    """LTE at its published size: 256 waves per cell and an MLP of three layers of 256."""
    return _published("edsr_baseline", "lte")


def lte_rdn() -> dict[str, Any]:
    """LTE with RDN (configuration B)."""
    return _published("rdn", "lte")


def lte_swinir() -> dict[str, Any]:
    """LTE with SwinIR."""
    return _published(SWINIR, "lte")


def lte_plus_edsr_baseline() -> dict[str, Any]:
    """LTE+, the authors' lte-fast, with EDSR-baseline."""
    return _published("edsr_baseline", "lte_plus")


def metasr_edsr_baseline() -> dict[str, Any]:
    """MetaSR with EDSR-baseline, as LIIF's authors compare with."""
    return _published("edsr_baseline", "metasr")


def metasr_rdn() -> dict[str, Any]:
    """MetaSR with RDN (configuration B), as LIIF's authors compare with."""
    return _published("rdn", "metasr")


def metasr_swinir() -> dict[str, Any]:
    """MetaSR with SwinIR, as LTE's authors compare with."""
    return _published(SWINIR, "metasr")


SWINIR = {"name": "swinir", "drop_path": 0.1}  # as the authors trained it


def _published(encoder: str | dict[str, Any], decoder: str) -> dict[str, Any]:
    return {"encoder": encoder, "decoder": decoder, "scales": [1, 4]}

"""The named models. A factory returns a spec; nothing is built before a look-up asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from implicitkit import UserError, list_models

WEIGHTS = Path(__file__).parent / "weights"
SHIPPED = {
    "sair_faces": "a SAIR that starts from a thin plate, trained on small pictures of faces; `inpaint` uses it",
    "sair_small_scenes": "a SAIR that starts from a thin plate, trained on photographs; `inpaint` uses it too",
    "liif_small_faces": "LIIF of the same training, told nothing of meaning",
    "lte_small_faces": "LTE of the same training, told nothing of meaning",
}
"""Models whose weights come with the package, where their file does: name -> summary."""

CANDIDATES = ("harmonic", "biharmonic")
"""The solvers that each picture's own test compares models with."""


def sair_clip_vit_b16() -> dict[str, Any]:
    """SAIR as published (ECCV 2024): MaskCLIP's features of a ViT-B/16, completed by SIR; AIR on the appearance
    encoder.

    CLIP's weights are random here: ``pretrained: openai`` in its encoder's spec fetches OpenAI's, or takes a file, as
    ``configs/sair_clip_vit_b16.yaml`` does.
    """
    return {
        "encoder": {"name": "sair_appearance", "padding": "reflect"},
        "decoder": {"name": "air", "semantic_channels": 512},
        "conditions": {
            "semantic": {
                "encoder": {"name": "clip", "model": "ViT-B-16", "quick_gelu": True, "mode": "maskclip"},
                "decoder": {"name": "sir"},
                "inputs": ["image", "mask"],
            }
        },
        "inputs": ["image", "mask"],
    }


def sair_small() -> dict[str, Any]:
    """A SAIR that trains on two cores: EDSR of 8 blocks for the appearance, ``mae_small`` for the meaning.

    It adds to the interpolated picture and to the interpolated features, so it begins as the identity on what is known.
    The semantic encoder is frozen: give it ``weights``, or its features are those of a random network.
    """
    return {
        "encoder": {"name": "edsr", "blocks": 8, "channels": 64, "res_scale": 1.0},
        "decoder": {"name": "air", "semantic_channels": 192, "hidden": [96, 64, 64], "skip": "bilinear"},
        "conditions": {
            "semantic": {
                "encoder": {"name": "mae_small"},
                "decoder": {"name": "sir", "hidden": [128, 128], "residual": "bilinear"},
                "inputs": ["image", "mask"],
            }
        },
        "inputs": ["image", "mask"],
    }


def sair_faces() -> dict[str, Any]:
    """What the file of that name says that it holds."""
    return _stored("sair_faces")


def sair_small_scenes() -> dict[str, Any]:
    """What the file of that name says that it holds."""
    return _stored("sair_small_scenes")


def liif_small_faces() -> dict[str, Any]:
    """What the file of that name says that it holds."""
    return _stored("liif_small_faces")


def lte_small_faces() -> dict[str, Any]:
    """What the file of that name says that it holds."""
    return _stored("lte_small_faces")


def sair_clip_vit_b16_control() -> dict[str, Any]:
    """``sair_clip_vit_b16`` of the same capacity, told nothing."""
    return control(sair_clip_vit_b16())


def sair_small_control() -> dict[str, Any]:
    """``sair_small`` of the same capacity, told nothing."""
    return control(sair_small())


def control(spec: dict[str, Any]) -> dict[str, Any]:
    """The capacity-matched control of a SAIR: the same layers, the decoder's semantics zeroed.

    What it falls short of the model is what meaning is worth; anything else it gains from its layers alone.
    """
    return {**spec, "decoder": {**spec["decoder"], "semantics": "none"}}


def _stored(name: str) -> dict[str, Any]:
    from implicitkit.weights import read_spec

    return read_spec(WEIGHTS / f"{name}.safetensors")


def default_models() -> list[str]:
    """The SAIRs for holes that come with the plugin.

    Raises:
        UserError: none does.
    """
    shipped = [name for name in SHIPPED if name.startswith("sair") and name in list_models(pretrained=True)]
    if not shipped:
        raise UserError(
            "pass --model, a weight file that was trained to inpaint; `implicitkit train CONFIG.yaml` with a config of "
            "the plugin makes one (best.safetensors in its output folder)"
        )
    return shipped

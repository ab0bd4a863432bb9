"""SAIR (Zhang, Li, Guo, Wang; ECCV 2024) for implicitkit, through the plugin door.

A semantic implicit representation (``sir``) completes the meaning that a damaged picture lacks; an appearance implicit
representation (``air``) paints with it. Every part is registered by name and works alone::

    import implicitkit as ik

    model = ik.create_model("sair_small")
    painted = model.encode(picture, mask).render(picture.shape[1:])
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import implicitkit as ik

if TYPE_CHECKING:
    import typer

    from implicitkit_sair.editing.editing import edit
    from implicitkit_sair.inpainting.painting import inpaint
    from implicitkit_sair.segmentation.labelling import segment
    from implicitkit_sair.semantic.clip.text import encode_text

__version__ = "0.1.0"
__all__ = ["__version__", "edit", "encode_text", "inpaint", "segment"]

_HOME = {
    "edit": "editing.editing",
    "encode_text": "semantic.clip.text",
    "inpaint": "inpainting.painting",
    "segment": "segmentation.labelling",
}


@ik.hookimpl
def register_encoders(register: Callable[..., Any]) -> None:
    """Semantic and appearance encoders."""
    register(
        "clip",
        f"{__name__}.semantic.clip.encoder:CLIP",
        summary="any open_clip image tower as dense, text-aligned features",
    )
    register(
        "dense", f"{__name__}.semantic.dense:Dense", summary="any timm backbone's own features, frozen: DINOv2, ..."
    )
    register(
        "mae_small",
        f"{__name__}.semantic.mae:MAESmall",
        summary="a small ViT, pre-trained without labels on one's own folder",
    )
    register(
        "twin",
        f"{__name__}.semantic.twin:twin",
        summary="a semantic encoder with one thing changed, for studies: random, shuffled or blind",
    )
    register("sair_appearance", f"{__name__}.appearance:Appearance", summary="SAIR's encoder of (masked picture, mask)")


@ik.hookimpl
def register_decoders(register: Callable[..., Any]) -> None:
    """SIR, AIR, and LTE with semantics."""
    register("sir", f"{__name__}.decoders.sir:SIR", summary="completes a semantic map, at any coordinate")
    register("air", f"{__name__}.decoders.air:AIR", summary="appearance features and the semantic field -> colour")
    register("sem_lte", f"{__name__}.decoders.sem_lte:SemLTE", summary="LTE with the same injection of semantics")


@ik.hookimpl
def register_models(register: Callable[..., Any]) -> None:
    """SAIR at the paper's size and at one for two cores, and the capacity-matched controls without meaning."""
    from implicitkit_sair.models import SHIPPED, WEIGHTS

    for name, config, summary in (
        ("sair_clip_vit_b16", "sair_clip_vit_b16", "SAIR as published: CLIP ViT-B/16, SIR, AIR"),
        ("sair_small", "sair_small_inpainting", "SAIR that trains on two cores: mae_small, SIR, AIR"),
    ):
        for model, told, settings in (
            (name, summary, ""),
            (f"{name}_control", "the same, semantics zeroed", " --set model.decoder.semantics=none"),
        ):
            how = {"advice": f"train it with `implicitkit train {config}{settings}`"}
            register(model, f"{__name__}.models:{model}", summary=told, metadata=how)
    for name, summary in SHIPPED.items():
        if (WEIGHTS / f"{name}.safetensors").is_file():
            stored = {"pretrained": f"{__name__}:{WEIGHTS.name}/{name}.safetensors"}
            register(name, f"{__name__}.models:{name}", summary=summary, metadata=stored)


@ik.hookimpl
def register_losses(register: Callable[..., Any]) -> None:
    """What SIR is trained with."""
    register(
        "semantic",
        f"{__name__}.training.losses:Semantic",
        summary="the semantic field against the clean picture's features",
    )


@ik.hookimpl
def register_protocols(register: Callable[..., Any]) -> None:
    """How meaning is scored."""
    register(
        "segmentation",
        f"{__name__}.segmentation.protocol:SegmentationProtocol",
        summary="mIoU on ADE20K's layout, whole and with holes, before and after SIR",
    )


@ik.hookimpl
def register_tabs(register: Callable[..., Any]) -> None:
    """Inpainting in ``implicitkit app``."""
    register("inpaint", f"{__name__}.app.tab:tab", summary="fill holes, and what means the same; paint beyond the edge")


@ik.hookimpl
def register_commands(app: typer.Typer) -> None:
    """``inpaint``, ``edit``, ``segment``, ``pretrain-mae`` and ``make-prototypes``."""
    importlib.import_module(f"{__name__}.cli").add_to(app)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value

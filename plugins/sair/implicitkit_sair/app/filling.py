"""What the inpainting tab does, by the functions of ``implicitkit inpaint`` and ``implicitkit edit``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from implicitkit import ImplicitModel, UserError, list_models
from implicitkit.app import Session
from implicitkit.devices import choose_precision
from implicitkit.images import Picture
from implicitkit.weights import is_here
from implicitkit_sair.editing.editing import hole_of
from implicitkit_sair.editing.selection import DINOV2, default_semantics, select
from implicitkit_sair.inpainting.choice import inpaint_better
from implicitkit_sair.inpainting.margins import extend
from implicitkit_sair.inpainting.painting import SOLVERS, check_mask, check_painter, read_mask
from implicitkit_sair.models import CANDIDATES, SHIPPED, default_models
from implicitkit_sair.segmentation.labelling import semantic_model
from implicitkit_sair.segmentation.vocabulary import choose_vocabulary
from implicitkit_sair.semantic.class_names import named_classes

BEST_MODEL = "whichever is better here"
POINT = re.compile(r"\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*")


class Answer(NamedTuple):
    """One filled picture."""

    name: str
    """What filled it."""
    picture: Picture
    why: str
    """Why that was chosen; empty if the user did."""


def painters(session: Session) -> list[str]:
    """What can fill holes: the models of the command line that can, then those that come with the plugin, and the
    solvers.
    """

    def fits(model: ImplicitModel) -> bool:
        try:
            check_painter(model)
        except UserError:
            return False
        return True

    shipped = [name for name in SHIPPED if name in list_models(pretrained=True)]
    return session.choices([*shipped, *SOLVERS], fits)


def semantics(session: Session) -> list[str]:
    """Whose meaning can select: semantic models of the command line, DINOv2 if its weights are here, the plugin's."""

    def fits(model: ImplicitModel) -> bool:
        try:
            semantic_model(model)
        except UserError:
            return False
        return True

    own = [DINOV2] if is_here(DINOV2) else []
    return session.choices([*own, *(name for name in ("sair_faces",) if name in list_models(pretrained=True))], fits)


def has_words(session: Session, name: str) -> bool:
    """Whether a semantic model reads words."""
    if name == DINOV2:
        return False
    try:
        choose_vocabulary(semantic_model(session.load(name)).encoder, ["any"])
    except UserError:
        return False
    return True


def fill(
    session: Session,
    picture: Picture,
    mask: Tensor,
    *,
    model: str = BEST_MODEL,
    dilate: int = 0,
    feather: int = 0,
    margins: Sequence[int] = (0, 0, 0, 0),
    every: bool = False,
) -> list[Answer]:
    """``picture`` with its holes filled.

    Args:
        session: the models, the limits and the device.
        picture: of any kind; depth, grey, alpha and profile are kept.
        mask: ``(1, H, W)``, above 0.5 where pixels are missing.
        model: of :func:`painters`, or :data:`BEST_MODEL`.
        dilate: pixels by which the holes are grown.
        feather: pixels over which the filling fades into the picture.
        margins: pixels to paint beyond the left, the top, the right and the bottom.
        every: give the answer of each of :func:`painters`; else one.

    Raises:
        DataError: the mask has no hole, is all hole, grown or not, or is of another size.
        UserError: the result would be too large.
    """
    picture, hole = extend(picture, mask, margins)
    session.limits.check_result(picture.size)
    check_mask(picture.rgb(), hole, dilate=int(dilate))
    how: dict[str, Any] = {"dilate": int(dilate), "feather": int(feather)}
    how["precision"] = choose_precision("auto", session.device, bits=picture.bits)

    def filled(names: Sequence[str]) -> Answer:
        chosen = {name: name if name in SOLVERS else session.load(name) for name in names}
        result, why = inpaint_better(chosen, picture, hole, **how)
        return Answer(why.partition(":")[0] or names[0], result, why)

    if every:
        return [filled([name]) for name in painters(session)]
    return [filled([*default_models(), *CANDIDATES] if model == BEST_MODEL else [model])]


def mean_same(
    session: Session,
    picture: Picture,
    model: str,
    *,
    like: str = "",
    unlike: str = "",
    words: str = "",
    grow: int = 8,
    threshold: float | None = None,
) -> Tensor:
    """The mask ``(1, H, W)`` of what means the same as points, or as words.

    Args:
        session: the models and the device.
        picture: of any kind.
        model: of :func:`semantics`.
        like: pixels ``"120,80 300,40"``, from the top left, that mean it.
        unlike: pixels that do not.
        words: instead of points, ``"sky, tree"``.
        grow: pixels by which the selection is grown.
        threshold: selected is what scores higher; None: see :func:`implicitkit_sair.editing.selection.select`.

    Raises:
        DataError: nothing or everything is selected.
        UserError: the request is not clear, or the encoder has no words.
    """
    loaded = default_semantics() if model == DINOV2 else session.load(model)
    asked: dict[str, Any] = {"like": points(like), "unlike": points(unlike)}
    if words.strip():
        chosen = [word.strip() for word in words.split(",") if word.strip()]
        folded = {word.casefold() for word in chosen}
        others = [name for name in named_classes("ade20k") or [] if name.casefold() not in folded]
        vocabulary = choose_vocabulary(semantic_model(loaded).encoder, [*chosen, *others])
        asked |= {"classes": chosen, "vocabulary": vocabulary}
    if not (asked["like"] or words.strip()):
        raise UserError("click what is to go, or say it in words")
    selection = select(loaded.to(session.device), picture.rgb(), threshold=threshold, **asked)
    return hole_of(selection, int(grow))


def points(text: str) -> list[tuple[float, float]]:
    """Pixels ``(x, y)`` of a text.

    >>> points("120,80 300.5, 40")
    [(120.0, 80.0), (300.5, 40.0)]
    """
    rest = POINT.sub(" ", text)
    if rest.strip():
        raise UserError(f"points are x,y in pixels, such as 120,80 300,40; received {text!r}")
    return [(float(x), float(y)) for x, y in POINT.findall(text)]


def mask_of(
    size: tuple[int, int], *, drawn: Sequence[Any] = (), file: str | Path | None = None, selected: Tensor | None = None
) -> Tensor:
    """All that is to be filled, as a mask ``(1, H, W)``.

    Args:
        size: ``(H, W)`` of the picture.
        drawn: layers ``(h, w, 4)`` uint8 of the brush, of any size: what is not transparent.
        file: a mask file, white where pixels are missing.
        selected: a mask ``(1, H, W)``.

    Raises:
        ImageError: the file is no mask.
        UserError: it is of another size.
    """
    mask = torch.zeros(1, *size)
    for layer in drawn:
        alpha = torch.from_numpy(np.ascontiguousarray(layer[..., 3])).float()[None, None] / 255
        mask = torch.maximum(mask, (F.interpolate(alpha, size, mode="nearest")[0] > 0.5).float())
    for other in (None if file is None else read_mask(file), selected):
        if other is None:
            continue
        if other.shape[1:] != mask.shape[1:]:
            raise UserError(
                f"the mask has {other.shape[2]}×{other.shape[1]} pixels, the picture {size[1]}×{size[0]}; their sizes "
                "must be the same"
            )
        mask = torch.maximum(mask, other)
    return mask

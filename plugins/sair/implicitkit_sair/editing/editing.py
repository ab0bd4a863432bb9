"""Select by meaning, then fill: by what is around, or with the meaning of another picture, of words, of a prototype."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from implicitkit import DataError, ImplicitModel
from implicitkit_sair.editing.selection import Selection, select, without_islands
from implicitkit_sair.inpainting.painting import grow as grown
from implicitkit_sair.inpainting.painting import inpaint


class Edit(NamedTuple):
    """What :func:`edit` returns."""

    picture: Tensor
    """``(3, H, W)`` in [0, 1]."""
    selection: Selection
    """What was selected, before it was grown."""


def edit(
    model: ImplicitModel | str,
    image: Tensor,
    *,
    semantics: ImplicitModel | None = None,
    meaning: Tensor | None = None,
    grow: int = 8,
    feather: int = 2,
    **asked: Any,
) -> Edit:
    """``image`` with what means the same as points, an example or classes filled.

    Args:
        model: what fills: one that takes a picture and a mask, or ``"patches"``, ``"harmonic"`` or ``"biharmonic"``.
        image: ``(3, H, W)`` in [0, 1].
        semantics: whose meaning selects (default: DINOv2), see :func:`implicitkit_sair.editing.selection.select`.
        meaning: what ``model``, a SAIR, is to paint there: a picture ``(3, h, w)``, laid over this one, or an embedding
            ``(D,)``; None: what it completes itself.
        grow: pixels by which the selection is grown, so that no rim of what it held is left.
        feather: pixels over which the filling fades into the picture.
        asked: what to select, see ``select``: ``like``, ``unlike``, ``example``, ``vocabulary`` and ``classes``,
            ``threshold``, ``connected``, ``refine``.

    Raises:
        DataError: nothing or everything is selected, or is when grown.
        UserError: the request is not clear, a point lies outside, the model cannot fill, or reads no such meaning.

    Example:
        >>> import implicitkit as ik, torch
        >>> _ = torch.manual_seed(0)
        >>> encoder = {"name": "edsr", "blocks": 1, "channels": 8}
        >>> semantics = ik.create_model({"encoder": encoder, "decoder": {"name": "bilinear", "project": False}})
        >>> picture = torch.rand(3, 48, 64)
        >>> edit("harmonic", picture, semantics=semantics, like=[(20, 30)], grow=0).picture.shape
        torch.Size([3, 48, 64])
    """
    selection = select(semantics, image, **asked)
    hole = hole_of(selection, grow)
    filled = inpaint(model, image, hole, feather=feather, meaning=meaning)
    return Edit(filled.clamp(0, 1).cpu(), selection)


def hole_of(selection: Selection, grow: int) -> Tensor:
    """The selection ``(1, H, W)`` grown by so many pixels, with the small islands that it then encloses, as a mask.

    Raises:
        DataError: nothing is left around it.
    """
    hole = without_islands(grown(selection.mask.cpu() > 0.5, grow)[0])[None]
    if bool(hole.all()):
        raise DataError(
            f"the selection, grown by {grow} pixels, is everything; take a higher threshold or a smaller grow"
        )
    return hole.float()

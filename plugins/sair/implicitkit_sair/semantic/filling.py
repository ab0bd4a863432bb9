"""What a semantic encoder is shown where the picture is missing.

The mask is no input of the network: it tells which pixels of the picture to replace before the network sees them, so
that whatever a damaged picture happens to hold in its holes changes nothing.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from implicitkit import UserError
from implicitkit.images import biharmonic_fill, harmonic_fill

Fill = Literal["mean", "zero", "blur", "harmonic", "biharmonic", "drop"]
FILLS: tuple[str, ...] = get_args(Fill)


def check_fill(how: str, what: str, drop: bool) -> None:
    """Refuse a fill that is none, or that ``what`` cannot do.

    Raises:
        ValueError: it is none of :data:`FILLS`.
        UserError: it is ``"drop"`` where ``drop`` is False.
    """
    if how not in FILLS:
        raise ValueError(f"fill is one of {', '.join(FILLS)}; received {how!r}")
    if how == "drop" and not drop:
        raise UserError(f"fill: drop leaves patches out of attention, and {what} has none to leave out; use fill: blur")


def fill_holes(picture: Tensor, mask: Tensor, how: Fill, black: Tensor) -> Tensor:
    """Replace the missing pixels.

    Args:
        picture: ``(B, C, H, W)``, normalised, so that 0 is the mean of what the network was trained on.
        mask: ``(B, 1, H, W)``, 1 where missing; in between, the two are mixed.
        how: ``"mean"`` puts 0 there; ``"zero"`` black, a pixel of 0 before normalisation; ``"blur"`` what surrounds
            the hole, the farther from its edge the smoother (see :func:`surroundings`); ``"harmonic"`` and
            ``"biharmonic"`` what :mod:`implicitkit.images.harmonic` solves for. With ``"drop"`` the patches that are
            mostly missing take no part at all, and what is missing in the others is filled as by ``"blur"``.
        black: ``(C, 1, 1)``, a black pixel after normalisation.
    """
    known = 1 - mask
    match how:
        case "mean":
            filler: Tensor | float = 0.0
        case "zero":
            filler = black
        case "blur" | "drop":
            filler = surroundings(picture, known)
        case "harmonic" | "biharmonic":
            solve = harmonic_fill if how == "harmonic" else biharmonic_fill
            filler = solve(picture, (mask > 0).to(picture.dtype))
        case _:
            raise ValueError(f"fill is one of {', '.join(FILLS)}; received {how!r}")
    # where() first: a missing pixel may be anything, also not a number
    return torch.where(known > 0, picture, 0.0) * known + filler * mask


def surroundings(picture: Tensor, known: Tensor) -> Tensor:
    """The known pixels spread over the unknown ones, ``(B, C, H, W)``; 0 where nothing is known at all.

    Pull and push (Gortler et al., The Lumigraph, 1996): means of the known pixels of 2×2, 4×4, ... blocks, and where a
    pixel is not known, the next coarser level interpolated bilinearly. It reaches across a hole of any size at the
    cost of 4/3 of a pass over the picture.
    """
    weighted = torch.where(known > 0, picture, 0.0) * known
    if max(picture.shape[2:]) == 1:
        return weighted
    pool = {"kernel_size": 2, "ceil_mode": True, "count_include_pad": False}
    weight = F.avg_pool2d(known, **pool)  # type: ignore[arg-type]
    pulled = F.avg_pool2d(weighted, **pool) / weight.clamp_min(1e-6)  # type: ignore[arg-type]
    coarse = surroundings(pulled, (weight > 0).to(known.dtype))
    return weighted + F.interpolate(coarse, picture.shape[2:], mode="bilinear") * (1 - known)

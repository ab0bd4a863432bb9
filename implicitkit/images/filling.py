"""Fill the holes of pictures: one function for degradations, models and protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from implicitkit.images.harmonic import biharmonic_fill, harmonic_fill

Fill = float | Sequence[float] | str
"""A value in [0, 1], one value per channel, or one of :data:`FILLS`."""
FILLS = ("mean", "noise", "harmonic", "biharmonic")
DEFAULT_FILL = 0.5


def check_fill(fill: Any) -> list[float] | str:
    """``fill`` as a list of values or one of :data:`FILLS`.

    Raises:
        ValueError: it is neither.

    >>> check_fill(0.5), check_fill("harmonic")
    ([0.5], 'harmonic')
    """
    if isinstance(fill, str):
        if fill in FILLS:
            return fill
    elif fill is not None and not isinstance(fill, bool):
        values = [float(v) for v in fill] if isinstance(fill, Sequence) else [float(fill)]
        if values and all(0 <= v <= 1 for v in values):
            return values
    named = f"{', '.join(FILLS[:-1])} or {FILLS[-1]}"
    raise ValueError(f"fill is a number in [0, 1], one per channel, {named}; received {fill!r}")


def fill_holes(picture: Tensor, mask: Tensor, fill: Fill, noise: torch.Generator | None = None) -> Tensor:
    """The picture with its holes filled; their own values are not read.

    Args:
        picture: ``(B, C, H, W)`` in [0, 1].
        mask: ``(B, 1, H, W)``, above 0.5 where a pixel is missing.
        fill: a value in [0, 1], one per channel, ``"mean"`` (of each channel's known pixels; 0.5 without any),
            ``"noise"`` (uniform in [0, 1], the same for all pictures), ``"harmonic"`` or ``"biharmonic"``
            (:mod:`implicitkit.images.harmonic`).
        noise: draws the noise, on the CPU (default: a generator of seed 0).

    Returns:
        The same shape and type; known pixels are untouched.

    Raises:
        ValueError: ``fill`` is none of these, or has another number of values than the picture has channels.

    >>> import torch
    >>> picture, mask = torch.tensor([[[[0.2, 0.4, 9.0]]]]), torch.tensor([[[[0.0, 0.0, 1.0]]]])
    >>> fill_holes(picture, mask, "mean")
    tensor([[[[0.2000, 0.4000, 0.3000]]]])
    """
    fill, hole = check_fill(fill), mask > 0.5
    if fill == "harmonic":
        return harmonic_fill(picture, mask)
    if fill == "biharmonic":
        return biharmonic_fill(picture, mask)
    if fill == "noise":
        generator = torch.Generator().manual_seed(0) if noise is None else noise
        values = torch.rand(tuple(picture.shape[1:]), generator=generator).to(picture)
    elif fill == "mean":
        axes = tuple(range(2, picture.ndim))
        total = torch.where(hole, 0.0, picture.double()).sum(axes, keepdim=True)
        count = (~hole).double().sum(axes, keepdim=True)
        values = torch.where(count > 0, total / count.clamp(min=1), 0.5).to(picture)
    else:
        given = torch.tensor(fill)
        values = picture.new_full((1,), float(given)) if given.numel() == 1 else given.to(picture)  # copies nothing
        if values.numel() not in (1, picture.shape[1]):
            raise ValueError(f"fill has {values.numel()} values for a picture of {picture.shape[1]} channels")
        values = values.reshape(-1, *(1,) * (picture.ndim - 2))
    return torch.where(hole, values, picture)


def trained_fill(degradations: Sequence[Mapping[str, Any]]) -> Fill:
    """The fill of the last ``inpainting`` in a list of specs; 0.5 if there is none.

    >>> trained_fill([{"name": "inpainting", "fill": "mean"}, {"name": "noise"}]), trained_fill([])
    ('mean', 0.5)
    """
    fills = [step.get("fill", DEFAULT_FILL) for step in degradations if step.get("name") == "inpainting"]
    return fills[-1] if fills else DEFAULT_FILL

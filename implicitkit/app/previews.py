"""Pictures as the page shows them: of 8 bits, and no larger than a screen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from implicitkit.app.session import Session
from implicitkit.images.io import Picture, to_pixels, to_tensor
from implicitkit.images.resize import resize

PREVIEW_SIDE = 1600  # pixels of the longer side


def shown_size(size: tuple[int, int], longest: int = PREVIEW_SIDE) -> tuple[int, int]:
    """``size`` ``(H, W)`` made to fit a square of ``longest`` pixels.

    >>> shown_size((4000, 1000)), shown_size((30, 20))
    ((1600, 400), (30, 20))
    """
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def preview(picture: Picture, size: tuple[int, int]) -> Picture:
    """``picture`` at ``size`` ``(H, W)``, bicubically, with 8 bits.

    >>> import numpy as np
    >>> preview(Picture(np.zeros((4, 6, 1), dtype=np.uint16)), (8, 12)).pixels.shape
    (8, 12, 1)
    """
    if picture.size == size and picture.bits == 8:
        return picture
    pixels = to_pixels(resize(picture.colour(), size))
    alpha = None
    if picture.alpha is not None:
        alpha = to_pixels(resize(to_tensor(picture.alpha[..., None]), size))[..., 0]
    return replace(picture, pixels=pixels, alpha=alpha)


def before_and_after(session: Session, before: Picture, after: Picture) -> tuple[Path, Path]:
    """Two files for a slider, both of the size at which ``after`` is shown."""
    size = shown_size(after.size)
    return session.write(preview(before, size), "before"), session.write(preview(after, size), "after")

"""Where to look when a hole is filled: a crop around it, at the size that the model was trained at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from implicitkit import Field, ImplicitModel
from implicitkit.coordinates import cell_size, grid
from implicitkit.images import fill_holes
from implicitkit_sair.inpainting.meaning import given_meaning

MARGIN = 0.25  # of a view: a hole this far inside a crop belongs to it
REACH = 6  # views: a model of whole pictures sees a crop of this side, shrunk, of what is larger
QUERIES = 1 << 15  # points at a time
MIN_SOLVED_SIDE = 256  # pixels: the least side of the crops in which an equation is solved
MISSING_SHARE = 0.25  # of a shrunk pixel: missing from here on


@dataclass(frozen=True)
class Crop:
    """A part of the picture, and which of its missing pixels are to be painted from it."""

    rows: slice
    columns: slice
    own: Tensor
    """``(H, W)`` of the crop, True at the pixels that are painted here; all missing ones stay hidden."""

    @property
    def window(self) -> tuple[slice, slice]:
        """The crop as an index of the last two axes."""
        return self.rows, self.columns


def trained_view(model: ImplicitModel) -> tuple[int | None, bool]:
    """The side in pixels of the pictures a model was trained on, and whether they were whole pictures.

    ``(None, False)`` where its file does not say.
    """
    data = model.training_summary.get("data") or {}
    return data.get("patch"), bool(data.get("whole", False))


def crops(hole: Tensor, view: int, whole: bool) -> list[Crop]:
    """The parts of a picture that a model looks at, see :func:`crops_around`.

    Args:
        hole: ``(H, W)``, True where a pixel is missing.
        view: the side, in pixels, that the model knows.
        whole: it knows whole pictures: it sees all of one of up to ``REACH`` views, however small it is made.
    """
    side = REACH * view if whole else view
    if whole and max(hole.shape) <= side:
        return [Crop(slice(0, hole.shape[0]), slice(0, hole.shape[1]), hole)]
    return list(crops_around(hole, side))


def crops_around(hole: Tensor, view: int) -> Iterator[Crop]:
    """Squares that together hold every missing pixel, each with its surroundings.

    A square is as large as its hole and half of that on each side, and at least ``view`` pixels, as far as the picture
    goes. Holes that lie well inside a square are painted from it too, so that text costs a few crops, not one a letter.

    Args:
        hole: ``(H, W)``, True where a pixel is missing.
        view: the side, in pixels, that the model knows.

    Example:
        >>> import torch
        >>> hole = torch.zeros(100, 300, dtype=torch.bool)
        >>> hole[50:54, 20:24] = hole[50:54, 290:294] = True
        >>> [(crop.rows, crop.columns) for crop in crops_around(hole, 64)]
        [(slice(20, 84, None), slice(0, 64, None)), (slice(20, 84, None), slice(236, 300, None))]
    """
    from scipy import ndimage

    groups, _ = ndimage.label(hole.numpy(), structure=np.ones((3, 3)))
    boxes = ndimage.find_objects(groups)
    order = sorted(range(len(boxes)), key=lambda k: -max(span.stop - span.start for span in boxes[k]))
    done = np.zeros(len(boxes), bool)
    for first in order:
        if done[first]:
            continue
        longest = max(span.stop - span.start for span in boxes[first])
        side = max(view, 2 * longest)
        window = tuple(_around(span, side, n) for span, n in zip(boxes[first], hole.shape, strict=True))
        inside = [k for k in order if not done[k] and (k == first or _well_inside(boxes[k], window, hole.shape, view))]
        done[inside] = True
        own = np.isin(groups[window], np.array(inside) + 1)
        yield Crop(window[0], window[1], torch.from_numpy(own))


def paint_crop(
    model: ImplicitModel, picture: Tensor, mask: Tensor, view: int, meaning: Tensor | None = None, **how: Any
) -> Tensor:
    """A crop ``(3, H, W)`` as the model paints it; one that is larger than ``view`` is seen shrunk, and is only
    painted in its holes.

    What the known pixels at full size are beyond what the model paints there is spread into the hole as a membrane, as
    in Poisson editing (Pérez et al., SIGGRAPH 2003): sharp up to the hole's edge, whatever the scale.

    Args:
        model: see :func:`implicitkit_sair.inpaint`.
        picture: ``(3, H, W)`` in [0, 1].
        mask: ``(1, H, W)``, 1 where missing.
        view: the longest side, in pixels, at which the model sees the crop.
        meaning: see :func:`implicitkit_sair.inpaint`; a picture is of the crop alone.
        how: other arguments of :meth:`ImplicitModel.encode`.
    """
    size = tuple(picture.shape[1:])
    factor = view / max(size)
    if factor >= 1:
        conditions = None if meaning is None else given_meaning(model, meaning, picture, mask)
        return model.encode(picture, mask, conditions=conditions, **how).render(size)
    shrunk, missing = shrink(picture, mask, [max(8, round(n * factor)) for n in size])
    conditions = None if meaning is None else given_meaning(model, meaning, shrunk, missing)
    field = model.encode(shrunk, missing, conditions=conditions, **how)
    painted = _near_holes(field, mask)
    beyond = fill_holes((picture.to(painted) - painted)[None], mask[None].to(painted), "harmonic")[0]
    return (painted + beyond).clamp(0, 1)


def shrink(picture: Tensor, mask: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """A picture with holes at a smaller ``size``: each pixel is the mean of the known ones that it covers.

    Nothing is solved, so a wide hole costs no more than a narrow one.

    Args:
        picture: ``(3, H, W)`` in [0, 1]; what it holds in the holes is not read.
        mask: ``(1, H, W)``, 1 where missing.
        size: ``(h, w)``.

    Returns:
        ``(3, h, w)``, and ``(1, h, w)``: 1 where more than a quarter is missing.

    Example:
        >>> mask = torch.zeros(1, 40, 40)
        >>> mask[..., 20:] = 1
        >>> small, missing = shrink(torch.full((3, 40, 40), 0.25), mask, (10, 10))
        >>> bool((small[..., :5] == 0.25).all()), int(missing.sum())
        (True, 50)
    """
    small = list(size)
    known = (mask < 0.5).to(picture)[None]
    share = F.interpolate(known, small, mode="bilinear", antialias=True)
    colours = torch.where(known > 0, picture[None], 0.0)
    mean = F.interpolate(colours, small, mode="bilinear", antialias=True) / share.clamp_min(1e-4)
    missing = F.interpolate(1 - known, small, mode="area") > MISSING_SHARE
    return mean[0].clamp(0, 1), missing[0].to(mask)


def _near_holes(field: Field, mask: Tensor) -> Tensor:
    """The field ``(3, H, W)`` in the holes of ``mask`` ``(1, H, W)`` and one pixel around them, zeros elsewhere."""
    size = mask.shape[1:]
    near = F.max_pool2d(mask[None].float(), 3, stride=1, padding=1)[0, 0] > 0.5
    points = grid(size)[near.flatten().cpu()].to(field.device)
    values = torch.cat([field(some, cell_size(size)) for some in points.split(QUERIES)])
    painted = values.new_zeros(values.shape[1], *size)
    painted[:, near.to(values.device)] = values.T
    return painted


def _around(span: slice, side: int, n: int) -> slice:
    """``side`` pixels around ``span``, inside an axis of ``n``."""
    side = min(side, n)
    start = (span.start + span.stop - side) // 2
    start = min(max(0, start), n - side)
    return slice(start, start + side)


def _well_inside(box: tuple[slice, ...], window: tuple[slice, ...], size: torch.Size, view: int) -> bool:
    for span, around, n in zip(box, window, size, strict=True):
        low = around.start + (int(view * MARGIN) if around.start else 0)
        high = around.stop - (int(view * MARGIN) if around.stop < n else 0)
        if span.start < low or span.stop > high:
            return False
    return True

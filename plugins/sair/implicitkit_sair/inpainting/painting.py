"""Filling holes: of tensors, and of picture files with everything they carry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from implicitkit import DataError, ImplicitModel, UserError, images
from implicitkit.images import Fill, Picture, fill_holes, fill_transparent, to_pixels, to_tensor
from implicitkit_sair.inpainting.meaning import given_meaning, part_of
from implicitkit_sair.inpainting.patches import patch_fill
from implicitkit_sair.inpainting.surroundings import MIN_SOLVED_SIDE, crops, paint_crop, shrink, trained_view

SOLVERS = ("biharmonic", "harmonic", "patches")
"""What fills holes without having learnt: a thin plate, a membrane, and patches of the picture itself."""
MAX_EXACT_PIXELS = 30_000  # missing pixels of a plate that is solved as it is, in a second or two


def inpaint(
    model: ImplicitModel | str,
    image: Tensor,
    mask: Tensor,
    *,
    passes: int | None = None,
    raw: bool = False,
    fill: Fill | None = None,
    tile: int | None = None,
    precision: str | None = None,
    view: int | None = None,
    dilate: int = 0,
    feather: int = 0,
    mirror: bool = False,
    meaning: Tensor | None = None,
) -> Tensor:
    """``image`` with its holes painted by ``model``.

    What the picture holds where the mask is 1 is never seen: ``fill`` takes its place.

    Args:
        model: one that takes a picture and a mask and gives a picture; or the name of a solver, ``"biharmonic"``,
            ``"harmonic"`` or ``"patches"``, which needs none of ``passes``, ``fill``, ``tile``, ``precision``, ``view``
            and ``mirror``.
        image: ``(3, H, W)`` or ``(B, 3, H, W)`` in [0, 1].
        mask: ``(1, H, W)`` or ``(B, 1, H, W)``, above 0.5 where pixels are missing.
        passes: how often the picture goes through (default: the model's own number).
        raw: give the model's whole output; by default the known pixels are put back as they were.
        fill: what stands in the holes, as in the ``inpainting`` degradation: a value in [0, 1], one per channel,
            ``"mean"``, ``"noise"``, ``"harmonic"`` or ``"biharmonic"`` (default: the model's own).
        tile: encode in tiles of so many pixels; see :meth:`ImplicitModel.encode`.
        precision: see :meth:`ImplicitModel.encode`.
        view: the longest side, in pixels, at which the model sees a crop around a hole; 0 shows it the whole picture as
            it is. By default that is what the model was trained at: a large picture then costs what its holes cost.
        dilate: grow the holes by so many pixels first, for masks that leave a rim.
        feather: fade into the picture over so many pixels around the holes; 0 keeps every known pixel as it was.
        mirror: average with what the model paints into the mirrored picture, at twice the cost: the self-ensemble of
            Lim et al. (CVPRW 2017), of left and right alone.
        meaning: what a SAIR is to paint, in place of what it finds: a picture ``(3, h, w)``, laid over this one, whose
            semantics count; or one embedding ``(D,)``, the same everywhere.

    Returns:
        The shape of ``image``, in [0, 1], on the model's device.

    Raises:
        DataError: the sizes differ, or a mask is all hole, grown or not, or no hole.
        UserError: the model takes no mask, does not give pictures, or was trained on something else than holes; or it
            reads no meaning, or one of another width.
        ValueError: there is no solver of that name.
    """
    check_painter(model)
    hole = check_mask(image, mask, dilate=dilate)
    if isinstance(model, str):
        if meaning is not None:
            raise UserError(f"{model} learnt nothing and reads no meaning; choose a model that does (a SAIR)")
        return blend(image, _solve_each(model, image, hole), hole, feather)
    how: dict[str, Any] = {"tile": tile, "precision": precision, "passes": passes, "fill": fill}
    known, whole = trained_view(model)
    if view is None:
        view = 0 if raw or known is None or tile is not None else known

    def paint(image: Tensor, hole: Tensor, meaning: Tensor | None) -> Tensor:
        if view and max(image.shape[-2:]) > view:
            return _paint_each(model, image, hole, view, whole, {**how, "meaning": meaning})
        conditions = None if meaning is None else given_meaning(model, meaning, image, hole)
        field = model.encode(image, hole.to(image.dtype), conditions=conditions, **how)
        return field.render(field.size)

    painted = paint(image, hole, meaning)
    if mirror:
        other = meaning.flip(-1) if meaning is not None and meaning.ndim > 1 else meaning  # a picture is mirrored too
        painted = (painted + paint(image.flip(-1), hole.flip(-1), other).flip(-1)) / 2
    return painted if raw else blend(image.to(painted), painted, hole.to(painted.device), feather)


def grow(hole: Tensor, pixels: int) -> Tensor:
    """The holes ``(..., 1, H, W)`` grown by so many pixels to each side.

    Raises:
        ValueError: ``pixels`` is negative.
    """
    if pixels < 0:
        raise ValueError(f"dilate is a number of pixels, at least 0; received {pixels}")
    if pixels == 0:
        return hole
    flat = hole.reshape(-1, 1, *hole.shape[-2:]).float()
    reach = min(pixels, max(hole.shape[-2:]))
    rows = F.max_pool2d(flat, (2 * reach + 1, 1), stride=1, padding=(reach, 0))  # a square is its rows' columns
    return (F.max_pool2d(rows, (1, 2 * reach + 1), stride=1, padding=(0, reach)) > 0.5).reshape(hole.shape)


def blend(image: Tensor, painted: Tensor, hole: Tensor, feather: int = 0) -> Tensor:
    """``painted`` inside the holes, ``image`` outside, and a ramp of ``feather`` pixels around each hole.

    Raises:
        ValueError: ``feather`` is negative.
    """
    if feather < 0:
        raise ValueError(f"feather is a number of pixels, at least 0; received {feather}")
    if feather == 0:
        return torch.where(hole, painted, image)
    weight, reached = hole.to(painted), hole
    for step in range(1, feather + 1):
        before, reached = reached, grow(reached, 1)
        if torch.equal(before, reached):  # as far as the picture goes
            break
        weight = torch.maximum(weight, reached.to(painted) * (1 - step / (feather + 1)))
    return image + weight * (painted - image)


def _paint_each(
    model: ImplicitModel, image: Tensor, hole: Tensor, view: int, whole: bool, how: dict[str, Any]
) -> Tensor:
    """Pictures ``(..., 3, H, W)`` with their holes painted, one crop around a hole after the other."""
    device = next(model.parameters()).device
    pictures = image.reshape(-1, *image.shape[-3:]).to(device, torch.float32)
    holes = hole.expand(*image.shape[:-3], *hole.shape[-3:]).reshape(-1, *hole.shape[-2:])
    painted = pictures.clone()
    for picture, missing, result in zip(pictures, holes, painted, strict=True):
        mask = missing[None].to(picture)
        for crop in crops(missing.cpu(), view, whole):
            window = (slice(None), *crop.window)
            own = {**how, "meaning": part_of(how["meaning"], crop.window, missing.shape)}
            values = paint_crop(model, picture[window], mask[window], view, **own)
            result[window] = torch.where(crop.own.to(device), values, result[window])
    return painted.reshape(image.shape)


def _solve_each(solver: str, image: Tensor, hole: Tensor) -> Tensor:
    """Pictures ``(..., 3, H, W)`` with their holes filled by a solver, crop by crop where they are large."""
    pictures = image.reshape(-1, *image.shape[-3:])
    holes = hole.expand(*image.shape[:-3], *hole.shape[-3:]).reshape(-1, *hole.shape[-2:])
    filled = pictures.clone()
    for picture, missing, result in zip(pictures, holes, filled, strict=True):
        for crop in crops(missing.cpu(), MIN_SOLVED_SIDE, whole=False):
            window = (slice(None), *crop.window)
            values = solve(solver, picture[window], missing[crop.window][None].to(picture))
            result[window] = torch.where(crop.own.to(values.device), values, result[window])
    return filled.reshape(image.shape)


def solve(solver: str, picture: Tensor, mask: Tensor) -> Tensor:
    """One picture ``(3, H, W)`` filled by a solver.

    A thin plate of more than ``MAX_EXACT_PIXELS`` missing pixels is solved in a smaller picture and enlarged, and what
    the known pixels are beyond that is spread into the hole as a membrane, as in ``paint_crop``: factorising its
    equations grows faster than their number, and so far from anything known a plate has no detail.
    """
    if solver == "patches":
        return patch_fill(picture, mask)
    missing = int((mask > 0.5).sum())
    if solver != "biharmonic" or missing <= MAX_EXACT_PIXELS:
        return fill_holes(picture[None], mask[None], solver)[0]
    size = [max(8, round(n * (MAX_EXACT_PIXELS / missing) ** 0.5)) for n in picture.shape[1:]]
    small, hole = shrink(picture, mask, size)
    plate = fill_holes(small[None], hole[None], solver)
    plate = F.interpolate(plate, picture.shape[1:], mode="bicubic")[0].to(picture)
    return (plate + fill_holes((picture - plate)[None], mask[None], "harmonic")[0]).clamp(0, 1)


def visible(picture: Picture, hole: Tensor) -> Tensor:
    """The colours ``(3, H, W)`` of a decoded file, those that a file stores where nothing shows filled from known ones.

    Args:
        picture: of any kind.
        hole: ``(1, H, W)``, True where a pixel is missing.
    """
    colour = picture.rgb()
    if picture.alpha is not None:  # the colours that a file stores where nothing shows are arbitrary
        colour = fill_transparent(colour, to_tensor(picture.alpha[..., None]) * ~hole)
    return colour


def inpaint_picture(
    model: ImplicitModel | str, picture: Picture, mask: Tensor, *, raw: bool = False, **how: Any
) -> Picture:
    """Like :func:`inpaint` for a decoded file: grey stays grey, 16 bits stay 16 bits, alpha and profile are kept.

    Known pixels come back as the very integers they were, unless ``raw`` is asked for.

    Args:
        model: see :func:`inpaint`.
        picture: of any kind.
        mask: ``(1, H, W)``, see :func:`inpaint`.
        raw: see :func:`inpaint`.
        how: the other arguments of :func:`inpaint`.
    """
    hole = check_mask(picture.rgb(), mask, dilate=how.get("dilate", 0))
    painted = inpaint(model, visible(picture, hole), mask, raw=raw, **how)
    outside = None if raw else grow(hole, how.get("feather", 0))
    return with_colours(picture, painted, outside)


def with_colours(picture: Picture, painted: Tensor, changed: Tensor | None) -> Picture:
    """A decoded file with the colours ``painted`` ``(3, H, W)``; where ``changed`` ``(1, H, W)`` is False, its own."""
    if picture.is_grey:
        painted = painted.mean(0, keepdim=True)
    pixels = to_pixels(painted, picture.bits)
    if changed is not None:
        pixels = np.where(changed[0, :, :, None].numpy(), pixels, picture.pixels)
    return replace(picture, pixels=pixels)


def read_mask(path: str | Path, hole: str = "white", threshold: float = 0.5) -> Tensor:
    """A mask file as ``(1, H, W)`` float32: 1 where pixels are missing.

    Args:
        path: a picture of any kind, see :func:`implicitkit.images.read_mask`.
        hole: which of its pixels are missing, ``"white"`` (brighter than ``threshold``) or ``"black"`` (the others).
        threshold: in [0, 1), of the largest value.

    Raises:
        ValueError: ``hole`` or ``threshold`` is neither of these.
        ImageError: the file cannot be read, or it is not clear what it says.
    """
    if hole not in ("white", "black"):
        raise ValueError(f"the hole of a mask picture is white or black; received {hole!r}")
    if not 0 <= threshold < 1:
        raise ValueError(f"a threshold is at least 0 and less than 1; received {threshold}")
    return torch.from_numpy(images.read_mask(path, hole, threshold)).float()[None]


def check_mask(image: Tensor, mask: Tensor, what: str = "the mask", *, dilate: int = 0) -> Tensor:
    """``mask`` as booleans, True where ``image`` is missing, grown by ``dilate`` pixels to each side.

    Raises:
        DataError: the sizes differ, or a mask is all hole, grown or not, or no hole; ``what`` names it.
        ValueError: ``dilate`` is negative.
    """
    if mask.ndim not in (3, image.ndim) or mask.shape[-3] != 1 or mask.shape[:-3] not in ((), image.shape[:-3]):
        raise DataError(
            f"a mask is (1, H, W), or (B, 1, H, W) beside a batch; received {tuple(mask.shape)} for a picture of "
            f"{tuple(image.shape)}"
        )
    (height, width), size = mask.shape[-2:], image.shape[-2:]
    if (height, width) != size:
        raise DataError(
            f"{what} has {width}×{height} pixels, the picture {size[1]}×{size[0]}; their sizes must be the same"
        )
    hole = mask > 0.5
    missing = hole.flatten(-3).sum(-1)
    if bool((missing == 0).any()):
        raise DataError(f"{what} has no hole, so there is nothing to fill; are white and black the other way round?")
    if bool((missing == height * width).any()):
        raise DataError(f"{what} is all hole, so nothing is known; are white and black the other way round?")
    hole = grow(hole, dilate)
    if bool(hole.flatten(-3).all(-1).any()):
        raise DataError(f"{what} is all hole once it is grown by {dilate} pixels, so nothing is known")
    return hole


def check_painter(model: ImplicitModel | str, what: str = "the model") -> None:
    """Raise :class:`UserError` unless ``model`` maps RGB pictures with a mask to RGB pictures, or is a solver."""
    if isinstance(model, str):
        if model not in SOLVERS:
            raise ValueError(f"the solvers are {', '.join(SOLVERS[:-1])} and {SOLVERS[-1]}; received {model!r}")
        return
    if model.encoder.in_channels != 3 or model.decoder.out_channels != 3 or model.decoder.output != "picture":
        raise UserError(f"{what} does not map RGB pictures to RGB pictures, so it cannot inpaint")
    if not model.takes_mask:
        raise UserError(
            f"{what} takes no mask, so it cannot know what is missing (its inputs: {', '.join(model.inputs)})"
        )
    steps = [step.get("name") for step in model.training_summary.get("degradation") or []]
    if steps and "inpainting" not in steps:
        raise UserError(f"{what} was trained to undo {' and '.join(map(str, steps))}, not to fill holes")

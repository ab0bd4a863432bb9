"""Inpainting: pictures with holes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from implicitkit.coordinates import Size
from implicitkit.degradations.base import Degradation, Record, Step, check_ndim, seeded
from implicitkit.degradations.mask_folder import MaskFolder
from implicitkit.degradations.masks import (
    SIDES,
    Bin,
    Mask,
    boxes,
    centred,
    cover,
    half,
    scattered,
    strokes,
    volume_boxes,
)
from implicitkit.degradations.settings import KindChoice, Kinds, Range, draw_seed
from implicitkit.images.filling import DEFAULT_FILL, Fill, check_fill, fill_holes

DEFAULT_RATIOS = {
    "strokes": (0.01, 0.6),  # the range of Liu et al.'s test set
    "boxes": (0.05, 0.4),
    "centre": (0.25, 0.25),  # half of each side
    "half": (0.5, 0.5),
    "outpainting": (0.75, 0.75),
    "scattered": (0.1, 0.9),
}
KINDS = (*DEFAULT_RATIOS, "folder")
VOLUME_KINDS = ("boxes", "scattered")


class Inpainting(Degradation):
    """Removes pixels: ``mask`` is 1 where they are missing, and ``fill`` replaces them.

    ================ ==============================================================================================
    kind             missing
    ================ ==============================================================================================
    ``strokes``      irregular strokes: random walks of thick lines, and ellipses (after Liu et al., ECCV 2018)
    ``boxes``        boxes anywhere
    ``centre``       a rectangle in the middle
    ``half``         one half, at one of ``sides``
    ``outpainting``  all but a rectangle in the middle
    ``scattered``    single pixels anywhere
    ``folder``       the holes of a mask picture in ``folder``
    ================ ==============================================================================================

    The hole ratio (missing pixels / all pixels) is drawn uniformly from ``ratio``. Strokes, boxes and scattered pixels
    meet it to the pixel, rectangles to whole rows and columns. A mask's own ratio lies in a given ``ratio``, ends
    included, at any size; otherwise an error is raised. The mask is joined with an incoming one, and only this step's
    holes are filled.

    Args:
        kind: ``strokes`` (the default), another of the table's kinds, several, or ``{kind: weight}``.
        ratio: the hole ratio's bin ``[low, high]``, in [0, 1], or a number, met as nearly as whole pixels can. By
            default each kind has its own (:data:`DEFAULT_RATIOS`), met as nearly as the picture's size allows.
        fill: for missing pixels: a value in [0, 1], one per channel, ``"noise"`` (uniform in [0, 1], drawn on the
            CPU), ``"mean"`` (of each channel's known pixels), ``"harmonic"`` or ``"biharmonic"`` (from the surrounding
            pixels, see :mod:`implicitkit.images.harmonic`). A model that takes the mask uses its own fill.
        sides: sides of a missing half: left, right, top and bottom.
        folder: the folder of mask pictures, sub-folders included; any size.
        hole: which of their pixels are missing, ``"white"`` or ``"black"``.
        augment: crop (70 to 100 % a side), mirror and quarter-turn them at random.
        ndim: 2, or 3 for volumes ``(C, D, H, W)``, of which ``boxes`` and ``scattered`` are known; by default boxes.

    Raises:
        ValueError: a setting is out of range, or the bin of ``half`` does not hold 0.5.
        DataError: the folder is missing, empty or, when drawing, without a mask in the bin.

    >>> degraded = Inpainting("scattered", ratio=0.5)(torch.rand(3, 8, 8))
    >>> degraded.mask.mean()
    tensor(0.5000)
    """

    def __init__(
        self,
        kind: KindChoice | None = None,
        ratio: float | Sequence[float] | None = None,
        fill: Fill = DEFAULT_FILL,
        sides: str | Sequence[str] = SIDES,
        folder: str | None = None,
        hole: Literal["white", "black"] = "white",
        augment: bool = True,
        ndim: int = 2,
    ) -> None:
        self.ndim = check_ndim("inpainting", ndim)
        kind = ("strokes" if ndim == 2 else "boxes") if kind is None else kind
        self.kinds = Kinds("inpainting", kind, KINDS if ndim == 2 else VOLUME_KINDS)
        self.ratio = None if ratio is None else Range("ratio, a fraction of all pixels,", ratio, 0, 1)
        exact = isinstance(ratio, (int, float))
        self.bin = None if self.ratio is None or exact else Bin.of(self.ratio.low, self.ratio.high)
        if self.ratio is not None and "half" in self.kinds and not self.ratio.low <= 0.5 <= self.ratio.high:
            raise ValueError(f"half a picture has a hole ratio of 0.5, outside of the bin; received ratio={ratio!r}")
        self.sides = [sides] if isinstance(sides, str) else list(sides)
        if not self.sides or any(side not in SIDES for side in self.sides):
            raise ValueError(f"sides are some of {', '.join(SIDES)}; received {sides!r}")
        if exact and folder is not None:
            raise ValueError(
                f"masks of a folder have ratios of their own: give a range [low, high]; received {ratio!r}"
            )
        if ("folder" in self.kinds) != (folder is not None):
            raise ValueError(f"kind 'folder' and a folder of masks go together; received kind={kind!r}, {folder=}")
        if hole not in ("white", "black"):
            raise ValueError(f"the hole of a mask picture is white or black; received {hole!r}")
        self.masks = None if folder is None else MaskFolder(folder, hole, self.bin, augment)
        self.fill = check_fill(fill)

    def sample(self, shape: Sequence[int], generator: torch.Generator) -> Record:
        # independent of the shape: a training crop has another size than its picture
        kind = self.kinds.draw(generator)
        record = {"name": "inpainting", "kind": kind, "seed": draw_seed(generator)}
        if kind == "folder":
            assert self.masks is not None
            return {**record, **self.masks.choose(generator)}
        target = (self.ratio or Range(kind, DEFAULT_RATIOS[kind])).draw(generator)
        side = {"side": self.sides[int(torch.randint(len(self.sides), (), generator=generator))]}
        return {**record, "ratio": target, **(side if kind == "half" else {})}

    def degrade(self, image: Tensor, mask: Tensor, record: Record) -> Step:
        size = tuple(image.shape[2:])
        missing = self._draw_volume(size, record) if len(size) == 3 else self.draw_mask((size[0], size[1]), record)
        drawn = torch.from_numpy(missing).to(image.device)
        mask = torch.maximum(mask, drawn.to(mask).expand_as(mask))
        filled = fill_holes(image, mask, self.fill, seeded(record["seed"], 1))
        return Step(torch.where(drawn, filled, image), mask, size)

    def _draw_volume(self, size: Size, record: Record) -> Mask:
        """The mask of ``record`` for a volume."""
        count = (self.bin or Bin()).nearest_count(record["ratio"], size)
        draw = scattered if record["kind"] == "scattered" else volume_boxes
        return draw(size, count, seeded(record["seed"], 0))

    def draw_mask(self, size: tuple[int, int], record: Record) -> Mask:
        """The mask of ``record`` for a picture of ``size`` ``(H, W)``; True where a pixel is missing."""
        kind, generator, ratios = record["kind"], seeded(record["seed"], 0), self.bin or Bin()
        if kind == "folder":
            if self.masks is None:
                raise ValueError("the record has a mask from a folder; received no folder")
            return self.masks.render(record, size)
        target = record["ratio"]
        match kind:
            case "strokes":
                return cover(size, ratios.nearest_count(target, size), strokes(size, target, generator))
            case "boxes":
                return cover(size, ratios.nearest_count(target, size), boxes(size, target, generator))
            case "scattered":
                return scattered(size, ratios.nearest_count(target, size), generator)
            case "centre":
                return centred(size, ratios, target)
            case "outpainting":
                return ~centred(size, ratios.complement(), 1 - target)
            case "half":
                return half(size, record["side"], ratios)
        raise ValueError(f"the kinds of inpainting are {', '.join(KINDS)}; the record has {kind!r}")

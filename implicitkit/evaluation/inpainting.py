"""The protocol of inpainting (SAIR, ECCV 2024; MISF, CVPR 2022).

* Pictures are the middle square, shrunk to 256×256 (Pillow's bicubic) and rounded to 8 bits; a picture of that size is
  left as it is.
* Masks have a hole ratio in a bin: 0–20, 20–40 and 40–60 % of the pixels. The first bin begins at 1 %, as in the test
  set of Liu et al.: a picture without a hole tests nothing.
* PSNR and SSIM (7×7) see the prediction rounded to 8 bits, or truncated, as SAIR's script does. L1 and LPIPS see it
  as it is. All are of the whole prediction: what was known is not pasted back, unless asked for.
* Each metric that takes a mask is computed a second time on the hole alone (``psnr_hole``).

A set's score is the mean of its pictures' scores. Masks depend on the seed, the bin and the picture's place in the
set's sorted order alone, so that all methods, today and later, get the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from implicitkit.create import create_degradation
from implicitkit.degradations.base import Degradation, Degraded, seeded
from implicitkit.degradations.settings import KindChoice
from implicitkit.errors import DataError
from implicitkit.evaluation.protocol import Answer, Progress, Protocol
from implicitkit.evaluation.scores import Metrics, Scores, by_name, create_metrics
from implicitkit.images.folders import picture_files
from implicitkit.images.io import read_image
from implicitkit.images.resize import resize, round_to_8_bits
from implicitkit.metrics import Metric
from implicitkit.model import ImplicitModel

BINS = ((0, 20), (20, 40), (40, 60))
SMALLEST_RATIO = 1  # percent
SIZE = 256
USUAL = ("psnr", "ssim", "l1")
ON_8_BITS = ("psnr", "psnr_y", "ssim", "ssim_gaussian")
Inpainter = Callable[[Tensor, Tensor], Tensor]
"""``(3, H, W)`` with its holes filled somehow, and the mask ``(1, H, W)`` (1 = hole) -> ``(3, H, W)``."""


def mean_fill(image: Tensor, mask: Tensor) -> Tensor:
    """Each channel's mean over the known pixels, in the holes: the row every table begins with."""
    hole = mask > 0.5
    known = image[:, ~hole[0]]
    colour = known.double().mean(1).to(image) if known.numel() else image.new_full((len(image),), 0.5)
    return torch.where(hole, colour[:, None, None], image)


def evaluate_inpainting(
    methods: Mapping[str, Inpainter],
    folder: str | Path,
    bins: Sequence[tuple[float, float]] = BINS,
    holes: Mapping[str, Any] | None = None,
    metrics: Metrics = USUAL,
    *,
    size: int | None = SIZE,
    truncate: bool = False,
    paste: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Scores:
    """Score every method on every picture of a folder, once per bin of hole ratios.

    Args:
        methods: name -> inpainter; :func:`mean_fill` is one.
        folder: clean pictures, sub-folders included.
        bins: hole ratios ``(low, high)`` in percent; each is a setting of the result (``"20-40"``).
        holes: the degradation that makes the holes; it is given the bin as ``ratio``, in [0, 1]. Default: irregular
            strokes, ``{"name": "inpainting", "kind": "strokes"}``. Masks of a folder: ``{"name": "inpainting",
            "kind": "folder", "folder": ..., "augment": False}``.
        metrics: names, specs or :class:`~implicitkit.metrics.Metric` objects.
        size: side of the pictures; None takes them as they come.
        truncate: cut predictions to 8 bits as ``astype(uint8)`` does, in place of rounding.
        paste: put the known pixels back before scoring.
        seed: of the masks.
        progress: called with the number of pictures done and the one at hand.

    Returns:
        Scores; ``records`` holds each mask's record and ``hole_ratio``.

    Raises:
        DataError: a picture is smaller than ``size``.
        ValueError: a bin is not of percentages, ``low`` first.
    """
    measures = create_metrics(metrics)
    spec = {"name": "inpainting", "kind": "strokes"} if holes is None else dict(holes)
    degradations = create_holes(spec, bins)
    files = by_name(picture_files([folder]))
    scores = Scores(units=_units(measures))
    for place, (name, file) in enumerate(files.items()):
        clean = prepare(read_image(file), size, str(file))
        for k, (setting, (degradation, ends)) in enumerate(degradations.items()):
            record = degradation.sample(clean.shape, seeded(seed, *ends, place))
            seen = degradation.apply(clean, record)
            hole_ratio = float(seen.mask.double().mean())
            scores.records.setdefault(setting, {})[name] = {"hole_ratio": hole_ratio, **record}
            for method, inpainter in methods.items():
                prediction = inpainter(seen.image, seen.mask).cpu().clamp(0, 1)
                if paste:
                    prediction = torch.where(seen.mask > 0.5, prediction, clean)
                for metric, value in _measure(measures, prediction, seen, truncate):
                    scores.add(method, setting, metric, name, value)
            if progress:
                progress(place * len(degradations) + k + 1, f"{name}, {setting} % missing")
    return scores


def prepare(picture: Tensor, size: int | None, where: str = "a picture") -> Tensor:
    """The middle square of ``picture`` ``(3, H, W)`` at ``size`` pixels a side (None: the whole at its own), in 8-bit
    steps.

    Raises:
        DataError: it is smaller; ``where`` names it.
    """
    height, width = picture.shape[1:]
    if size is not None and (height, width) != (size, size):
        side = min(height, width)
        if side < size:
            raise DataError(
                f"{where} has {height}×{width} pixels, the protocol {size}×{size}; pass a smaller size, or none (0 on "
                "the command line) to take pictures as they come"
            )
        top, left = (height - side) // 2, (width - side) // 2
        square = picture[:, top : top + side, left : left + side]
        picture = square if side == size else resize(square, (size, size), "pil").clamp(0, 1)
    return round_to_8_bits(picture)


def _measure(measures: Sequence[Metric], prediction: Tensor, seen: Degraded, truncate: bool) -> list[tuple[str, float]]:
    """Each metric of the whole picture and, where it takes a mask, of the hole."""
    levels = (prediction * 255).floor() if truncate else (prediction * 255).round()
    found = []
    for metric in measures:
        scored = levels / 255 if metric.name in ON_8_BITS else prediction
        found.append((metric.name, metric(scored, seen.reference)))
        if metric.takes_mask:
            found.append((f"{metric.name}_hole", metric(scored, seen.reference, seen.mask)))
    return found


def _units(measures: Sequence[Metric]) -> dict[str, str]:
    """Of the whole-picture metrics first, then of those of the hole."""
    whole = {metric.name: metric.unit for metric in measures}
    return whole | {f"{metric.name}_hole": metric.unit for metric in measures if metric.takes_mask}


def hole_ratios(low: float, high: float) -> list[float]:
    """A bin in percent as the ``ratio`` of ``inpainting``; it begins at 1 %, as no hole tests nothing.

    Raises:
        ValueError: it is not two percentages, low and high.
    """
    if not 0 <= low <= high <= 100 or high < SMALLEST_RATIO:
        raise ValueError(
            f"a bin of hole ratios is two percentages, low and high, high at least {SMALLEST_RATIO}; received "
            f"{low:g}-{high:g}"
        )
    return [max(low, SMALLEST_RATIO) / 100, high / 100]


def hole_spec(masks: str | None = None, kind: KindChoice | None = None) -> dict[str, Any]:
    """The degradation that makes holes: with the masks of a folder as they are, or of a kind (default: strokes).

    Raises:
        ValueError: both are given.
    """
    if masks is None:
        return {"name": "inpainting", "kind": "strokes" if kind is None else kind}
    if kind is not None:
        raise ValueError(f"give masks or kind, not both; received {masks} and {kind!r}")
    return {"name": "inpainting", "kind": "folder", "folder": masks, "augment": False}


def create_holes(
    holes: Mapping[str, Any], bins: Sequence[tuple[float, float]]
) -> dict[str, tuple[Degradation, tuple[int, int]]]:
    """The degradation of each bin, by setting (``"20-40"``), and the bin's ends as the integers that seed its masks.

    Raises:
        ValueError: a bin is not two percentages, low and high.
    """
    return {
        f"{low:g}-{high:g}": (
            create_degradation({**holes, "ratio": hole_ratios(low, high)}),
            (round(low * 1000), round(high * 1000)),
        )
        for low, high in bins
    }


def check_size(size: int | None) -> int | None:
    """A protocol's ``size``; 0 is None.

    Raises:
        ValueError: it is negative.
    """
    if size is not None and size < 0:
        raise ValueError(f"size is a number of pixels, or 0 for pictures as they come; received {size}")
    return size or None


class InpaintingProtocol(Protocol):
    """Holes of several sizes, filled; see :mod:`implicitkit.evaluation.inpainting`.

    A model that takes no mask is shown the picture alone.

    Args:
        bins: hole ratios ``[low, high]`` in percent.
        masks: a folder of mask pictures, white where missing, of any size (the nearest pixel is taken); a picture's
            mask is one whose hole ratio is in the bin.
        kind: what is drawn where no masks are given, as in the ``inpainting`` degradation (default: strokes).
        fill: what the model sees in holes, as in the ``inpainting`` degradation.
        size: side of the pictures, which are cut to their middle square; None or 0 takes them as they come.
        seed: of the masks.
        truncate: cut predictions to 8 bits as ``astype(uint8)`` does, in place of rounding.
        paste: put the known pixels back before scoring.
    """

    trivial: ClassVar[str] = "mean colour"

    def __init__(
        self,
        bins: Sequence[tuple[float, float]] = BINS,
        masks: str | None = None,
        kind: KindChoice | None = None,
        fill: float | list[float] | str = 0.5,
        size: int | None = SIZE,
        seed: int = 0,
        truncate: bool = False,
        paste: bool = False,
    ) -> None:
        if not bins:
            raise ValueError("inpainting takes bins of hole ratios, one at least; received none")
        self.bins = [(low, high) for low, high in bins]
        self.holes = {**hole_spec(masks, kind), "fill": fill}
        create_holes(self.holes, self.bins)  # what is wrong with them is said now
        self.size, self.seed, self.truncate, self.paste = check_size(size), seed, truncate, paste

    def count(self, data: Path) -> int:
        return len(picture_files([data])) * len(self.bins)

    def evaluate(
        self,
        models: Mapping[str, ImplicitModel],
        data: Path,
        *,
        metrics: Metrics | None = None,
        encode: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Scores:
        self.admit(models)
        answers = {name: Answer(model, encode or {}).in_place for name, model in models.items()}
        return evaluate_inpainting(
            {self.trivial: mean_fill, **answers},
            data,
            self.bins,
            self.holes,
            USUAL if metrics is None else metrics,
            size=self.size,
            truncate=self.truncate,
            paste=self.paste,
            seed=self.seed,
            progress=progress,
        )

    def tables(self, scores: Scores) -> dict[str, list[str]]:
        hole = [metric for metric in scores.units if metric.endswith("_hole")]
        tables = {"whole picture": [metric for metric in scores.units if metric not in hole], "hole alone": hole}
        return {title: metrics for title, metrics in tables.items() if metrics}

    def settings(self) -> dict[str, Any]:
        drawn = {"bins": [list(ends) for ends in self.bins], "size": self.size, "holes": self.holes, "seed": self.seed}
        return {**drawn, "truncate": self.truncate, "paste": self.paste}

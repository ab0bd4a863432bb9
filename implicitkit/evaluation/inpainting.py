"""The protocol of inpainting (SAIR, ECCV 2024; MISF, CVPR 2022).

* Pictures are the middle square, shrunk to 256×256 (Pillow's bicubic) and rounded to 8 bits; a picture of that size
  stays as it is.
* Masks have a hole ratio in a bin: 0–20, 20–40 and 40–60 % of the pixels. The first bin begins at 1 %, as in the test
  set of Liu et al.
* PSNR and SSIM (7×7) are measured on the prediction rounded to 8 bits, or truncated, as in SAIR's script; L1 and LPIPS
  on the values themselves. All are of the whole prediction, without pasting known pixels back by default.
* Each metric that takes a mask is also computed on the hole alone (``psnr_hole``).

Rows without training: the mean colour, the harmonic and the biharmonic fill (:mod:`implicitkit.images.harmonic`) and,
if OpenCV is installed, its Navier-Stokes inpainting.

A set's score is the mean of its pictures' scores. Masks depend on the seed, the bin and the picture's place in the
set's sorted order alone, so all methods get the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from implicitkit.create import create_degradation
from implicitkit.degradations.base import Degradation, seeded
from implicitkit.degradations.settings import KindChoice
from implicitkit.errors import DataError
from implicitkit.evaluation.protocol import Example, ModelMethod, Progress, Protocol
from implicitkit.evaluation.scores import Metrics, Scores
from implicitkit.images.filling import fill_holes
from implicitkit.images.folders import by_name, picture_files
from implicitkit.images.io import read_image, to_pixels, to_tensor
from implicitkit.images.resize import resize, round_to_8_bits
from implicitkit.metrics import Metric

BINS = ((0, 20), (20, 40), (40, 60))
MIN_RATIO = 1  # percent
SIZE = 256
METRICS_OF_8_BITS = ("psnr", "psnr_y", "ssim", "ssim_gaussian")
OPENCV_RADIUS = 3  # pixels
Inpainter = Callable[[Tensor, Tensor], Tensor]
"""``(3, H, W)`` with any values in its holes, and the mask ``(1, H, W)`` (1 = hole) -> ``(3, H, W)``."""


def mean_fill(image: Tensor, mask: Tensor) -> Tensor:
    """Fill holes with each channel's mean over the known pixels: the first row of every table.

    >>> mean_fill(torch.tensor([[[0.2, 0.4, 0.9]]]), torch.tensor([[[0.0, 0.0, 1.0]]]))
    tensor([[[0.2000, 0.4000, 0.3000]]])
    """
    return fill_holes(image[None], mask[None], "mean")[0]


def _filled_by(fill: str) -> Inpainter:
    return lambda image, mask: fill_holes(image[None], mask[None], fill)[0]


def navier_stokes(image: Tensor, mask: Tensor) -> Tensor:
    """OpenCV's inpainting by Navier-Stokes equations (Bertalmio et al., CVPR 2001), on 8 bits."""
    import cv2

    filled = cv2.inpaint(to_pixels(image), (mask[0] > 0.5).byte().numpy(), OPENCV_RADIUS, cv2.INPAINT_NS)
    return to_tensor(filled)


SOLVERS: Mapping[str, Inpainter] = {
    "mean colour": mean_fill,
    **{fill: _filled_by(fill) for fill in ("harmonic", "biharmonic")},
    **({"Navier-Stokes (OpenCV)": navier_stokes} if find_spec("cv2") else {}),
}
"""Methods without training, by the name of their row."""


def evaluate_inpainting(
    methods: Mapping[str, Inpainter],
    folder: str | Path,
    bins: Sequence[tuple[float, float]] = BINS,
    holes: Mapping[str, Any] | None = None,
    metrics: Metrics | None = None,
    *,
    size: int | None = SIZE,
    truncate: bool = False,
    paste: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Scores:
    """Score every method on every picture of a folder, once per bin of hole ratios.

    Args:
        methods: name -> inpainter; :data:`SOLVERS` holds some.
        folder: clean pictures, sub-folders included.
        bins: hole ratios ``(low, high)`` in percent; each is a setting of the result (``"20-40"``).
        holes: the degradation that makes the holes; it gets the bin as ``ratio``, in [0, 1]. Default: irregular
            strokes, ``{"name": "inpainting", "kind": "strokes"}``. Masks of a folder: ``{"name": "inpainting",
            "kind": "folder", "folder": ..., "augment": False}``.
        metrics: names, specs or :class:`~implicitkit.metrics.Metric` objects (default: PSNR, SSIM and L1).
        size: side of the pictures; None: their own.
        truncate: truncate predictions to 8 bits, as ``astype(uint8)``, instead of rounding.
        paste: put the known pixels back before scoring.
        seed: of the masks.
        progress: see :data:`~implicitkit.evaluation.protocol.Progress`.

    Returns:
        Scores; ``records`` holds each mask's record and ``hole_ratio``.

    Raises:
        DataError: a picture is smaller than ``size``.
        ValueError: a bin is not of percentages, ``low`` first.

    >>> import tempfile
    >>> from implicitkit.images.io import write_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(f"{folder}/noise.png", torch.rand(3, 24, 24))
    ...     list(evaluate_inpainting({"mean": mean_fill}, folder, size=None).values["mean"])
    ['0-20', '20-40', '40-60']
    """
    protocol = InpaintingProtocol(bins, size=size, seed=seed, truncate=truncate, paste=paste)
    protocol.holes = hole_spec() if holes is None else dict(holes)
    answers = {name: of_pictures(inpainter) for name, inpainter in methods.items()}
    return protocol.compare(answers, Path(folder), metrics=metrics, progress=progress)


def of_pictures(inpainter: Inpainter) -> ModelMethod:
    """An inpainter as a function of an example."""

    def answer(example: Example) -> Tensor:
        assert example.mask is not None
        return inpainter(example.image, example.mask)

    return answer


def prepare(picture: Tensor, size: int | None, where: str = "a picture") -> Tensor:
    """The middle square of ``picture`` ``(3, H, W)`` at ``size`` pixels a side (None: all of it), in 8-bit steps.

    Raises:
        DataError: it is smaller; the message names ``where``.
    """
    height, width = picture.shape[1:]
    if size is not None and (height, width) != (size, size):
        side = min(height, width)
        if side < size:
            raise DataError(
                f"{where} has {width}×{height} pixels, the protocol {size}×{size}; pass a smaller size, or none (0 on "
                "the command line) for whole pictures"
            )
        top, left = (height - side) // 2, (width - side) // 2
        square = picture[:, top : top + side, left : left + side]
        picture = square if side == size else resize(square, (size, size), "pil").clamp(0, 1)
    return round_to_8_bits(picture)


def hole_ratios(low: float, high: float) -> list[float]:
    """A bin in percent as the ``ratio`` of ``inpainting``, at least 1 %.

    Raises:
        ValueError: it is not two percentages, low and high.
    """
    if not 0 <= low <= high <= 100 or high < MIN_RATIO:
        raise ValueError(
            f"a bin of hole ratios is two percentages, low and high, high at least {MIN_RATIO}; received "
            f"{low:g}-{high:g}"
        )
    return [max(low, MIN_RATIO) / 100, high / 100]


def hole_spec(masks: str | None = None, kind: KindChoice | None = None) -> dict[str, Any]:
    """The degradation that makes holes: masks of a folder, not augmented, or of a kind (default: strokes).

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
    """Inpainting in bins of hole ratios; see :mod:`implicitkit.evaluation.inpainting`.

    A model gets the mask if it takes one, and then fills the holes by its own ``fill``.

    Args:
        bins: hole ratios ``[low, high]`` in percent.
        masks: a folder of mask pictures, white where missing, of any size (resized by nearest pixel); masks are chosen
            by their hole ratio.
        kind: kind of holes without ``masks``, as in the ``inpainting`` degradation (default: strokes).
        fill: fill of the holes, for models that take no mask: a number, ``mean``, ``noise``, ``harmonic`` or
            ``biharmonic``.
        size: side of the pictures, which are cut to their middle square; None or 0: whole pictures.
        seed: of the masks.
        truncate: truncate predictions to 8 bits, as ``astype(uint8)``, instead of rounding.
        paste: put the known pixels back before scoring.
        solvers: score the harmonic and biharmonic fills and OpenCV's method too; they take seconds for large pictures.

    >>> protocol = InpaintingProtocol(bins=[[0, 20]], size=128, solvers=False)
    >>> protocol.trivial_rows, protocol.holes["kind"]
    (['mean colour'], 'strokes')
    """

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
        solvers: bool = True,
    ) -> None:
        if not bins:
            raise ValueError("inpainting takes bins of hole ratios, one at least; received none")
        self.bins = [(low, high) for low, high in bins]
        self.holes = {**hole_spec(masks, kind), "fill": fill}
        create_holes(self.holes, self.bins)  # raise now
        self.size, self.seed, self.truncate, self.paste = check_size(size), seed, truncate, paste
        names = list(SOLVERS)[: None if solvers else 1]
        self.trivial_answers = {name: of_pictures(SOLVERS[name]) for name in names}

    def count(self, data: Path) -> int:
        return len(picture_files([data])) * len(self.bins)

    def examples(self, data: Path) -> Iterator[Example]:
        degradations = create_holes(self.holes, self.bins)
        for place, (name, file) in enumerate(by_name(picture_files([data])).items()):
            with self.picture(name):
                clean = prepare(read_image(file), self.size, str(file))
                for setting, (degradation, ends) in degradations.items():
                    drawn = degradation.sample(clean.shape, seeded(self.seed, *ends, place))
                    degraded = degradation.apply(clean, drawn)
                    record = {"hole_ratio": float(degraded.mask.double().mean()), **drawn}
                    yield Example(setting, name, degraded.image, degraded.mask, degraded.reference, record)

    def new_scores(self, data: Path, metrics: Sequence[Metric]) -> Scores:
        """Metrics of the whole picture first, then of the hole."""
        hole = {f"{metric.name}_hole": metric.unit for metric in metrics if metric.takes_mask}
        return Scores(units={metric.name: metric.unit for metric in metrics} | hole)

    def score(self, prediction: Tensor, example: Example, metrics: Sequence[Metric]) -> Mapping[str, float]:
        """Each metric of the whole picture and, where it takes a mask, of the hole."""
        assert example.mask is not None
        prediction = prediction.clamp(0, 1)
        if self.paste:
            prediction = torch.where(example.mask > 0.5, prediction, example.truth)
        levels = (prediction * 255).floor() if self.truncate else (prediction * 255).round()
        values: dict[str, float] = {}
        for metric in metrics:
            scored = levels / 255 if metric.name in METRICS_OF_8_BITS else prediction
            values[metric.name] = metric(scored, example.truth)
            if metric.takes_mask:
                values[f"{metric.name}_hole"] = metric(scored, example.truth, example.mask)
        return values

    def tables(self, scores: Scores) -> dict[str, list[str]]:
        hole = [metric for metric in scores.units if metric.endswith("_hole")]
        tables = {"whole picture": [metric for metric in scores.units if metric not in hole], "hole alone": hole}
        return {title: metrics for title, metrics in tables.items() if metrics}

    def settings(self) -> dict[str, Any]:
        drawn = {"bins": [list(ends) for ends in self.bins], "size": self.size, "holes": self.holes, "seed": self.seed}
        return {**drawn, "truncate": self.truncate, "paste": self.paste}

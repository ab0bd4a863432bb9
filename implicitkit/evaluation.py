"""Scores on test sets, by the protocols that papers use.

* ``benchmark`` (Set5, Set14, B100, Urban100): PSNR of the luma, ``scale`` pixels shaved off every border.
* ``div2k``: PSNR over RGB, ``scale + 6`` pixels shaved.
* ``plain``: PSNR over RGB, nothing shaved.

Predictions are clamped, not rounded to 8 bits; a set's score is the mean of its pictures' scores. Up to x4 the
low-resolution pictures are MATLAB-bicubic: the set's own files where it has them, made here otherwise; the clean
picture is cropped to their size times the scale. Above x4 they are ``floor(H/s)`` pixels, made by Pillow's bicubic
from the picture cropped to ``round(h s)`` (as LIIF does).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from implicitkit.data import picture_files
from implicitkit.degradations.resize import Kernel, resize
from implicitkit.degradations.super_resolution import SuperResolution
from implicitkit.errors import DataError
from implicitkit.images import READABLE, read_image
from implicitkit.metrics import psnr, psnr_y

Protocol = Literal["benchmark", "div2k", "plain"]
PROTOCOLS: tuple[Protocol, ...] = ("benchmark", "div2k", "plain")
LARGEST_MATLAB_SCALE = 4
Upscaler = Callable[[Tensor, tuple[int, int]], Tensor]
"""``(3, h, w)`` and the size wanted -> ``(3, H, W)``, both in [0, 1]."""


@dataclass(frozen=True)
class Pair:
    """A low-resolution picture and the clean one it came from, cropped to what it covers; ``(3, H, W)`` in [0, 1]."""

    name: str
    low: Tensor
    clean: Tensor


@dataclass
class Scores:
    """One method on one set: per scale, per picture, dB."""

    method: str
    psnr: dict[str, dict[str, float]] = field(default_factory=dict)

    def mean(self, scale: float) -> float:
        """The set's score: the mean over pictures."""
        values = list(self.psnr[f"{scale:g}"].values())
        return sum(values) / len(values)


class TestSet:
    """A folder of clean pictures, with or without low-resolution files beside them.

    Understood: ``HR/`` with ``LR_bicubic/X2/`` (names may end in ``x2``), ``X2/HR`` with ``X2/LR``, DIV2K's
        ``..._HR`` with
    ``..._LR_bicubic/X2``, and a plain folder of pictures.
    """

    __test__ = False  # not a test class, whatever pytest thinks of the name

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DataError(f"there is no folder {folder}")
        self.name = self.folder.name

    def count(self, scale: float) -> int:
        """How many pictures there are at ``scale``."""
        return len(self._clean_files(scale))

    def pairs(self, scale: float) -> Iterator[Pair]:
        """All pictures at one scale, one after the other.

        Raises:
            DataError: the folder holds no pictures, or a low-resolution file has no clean one or does not fit it.
        """
        low = self._low_folder(scale)
        for stem, file in self._named(scale).items():
            if low is None:
                yield make_pair(stem, read_image(file), scale)
                continue
            found = [p for s in (stem, f"{stem}x{scale:g}") for e in READABLE if (p := low / f"{s}{e}").is_file()]
            if not found:
                raise DataError(f"{low} has no low-resolution picture for {file.name}")
            yield _fit(stem, read_image(found[0]), read_image(file), scale)

    def _named(self, scale: float) -> dict[str, Path]:
        """The clean pictures by name; two of one name would make one score vanish."""
        named: dict[str, Path] = {}
        for file in self._clean_files(scale):
            if file.stem in named:
                raise DataError(f"{named[file.stem]} and {file} have one name; a test set needs different ones")
            named[file.stem] = file
        return named

    def _clean_files(self, scale: float) -> list[Path]:
        candidates = [self.folder / f"X{scale:g}" / "HR", self.folder / "HR", *sorted(self.folder.glob("*_HR"))]
        if not (self.folder / "HR").is_dir():  # a scale without a folder of its own: any other scale's clean pictures
            candidates += sorted(self.folder.glob("X*/HR"))
        return picture_files([next((c for c in candidates if c.is_dir()), self.folder)])

    def _low_folder(self, scale: float) -> Path | None:
        if scale > LARGEST_MATLAB_SCALE:
            return None
        places = [self.folder / f"X{scale:g}" / "LR", self.folder / "LR_bicubic" / f"X{scale:g}"]
        places += sorted(self.folder.glob(f"*_LR_bicubic/X{scale:g}"))
        return next((p for p in places if p.is_dir()), None)


def make_pair(name: str, clean: Tensor, scale: float) -> Pair:
    """Degrade a clean picture as the protocol says for ``scale``: 8 bits, MATLAB's kernel up to x4, Pillow's above."""
    kernel: Kernel = "matlab" if scale <= LARGEST_MATLAB_SCALE else "pil"
    degraded = SuperResolution(scale=scale, kernel=kernel, quantise=True)(clean, torch.Generator())
    return Pair(name, degraded.image, degraded.reference)


def _fit(name: str, low: Tensor, clean: Tensor, scale: float) -> Pair:
    size = [round(n * scale) for n in low.shape[1:]]
    if any(n > m or m - n > scale for n, m in zip(size, clean.shape[1:], strict=True)):
        raise DataError(
            f"{name}: a low-resolution picture of {low.shape[1]}×{low.shape[2]} at ×{scale:g} "
            f"does not fit a clean one of {clean.shape[1]}×{clean.shape[2]}"
        )
    return Pair(name, low, clean[:, : size[0], : size[1]])


def score(prediction: Tensor, clean: Tensor, scale: float, protocol: Protocol) -> float:
    """PSNR in dB by ``protocol``; fractional scales shave ``ceil(scale)``."""
    prediction = prediction.clamp(0, 1)
    match protocol:
        case "benchmark":
            return psnr_y(prediction, clean, shave=math.ceil(scale))
        case "div2k":
            return psnr(prediction, clean, shave=math.ceil(scale) + 6)
        case _:
            return psnr(prediction, clean)


def bicubic(low: Tensor, size: tuple[int, int]) -> Tensor:
    """MATLAB's bicubic enlargement, the row every table begins with."""
    return resize(low, size, "matlab")


def evaluate(
    methods: dict[str, Upscaler],
    test_set: TestSet,
    scales: Sequence[float],
    protocol: Protocol = "benchmark",
    progress: Callable[[int, str], Any] | None = None,
) -> list[Scores]:
    """Score every method on every picture at every scale.

    Args:
        methods: name -> upscaler; :func:`bicubic` is one.
        test_set: the pictures.
        scales: magnifications of at least 1.
        protocol: what is shaved, and whether luma or RGB counts.
        progress: called with the number of pictures done and the one at hand.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"the protocol is one of {', '.join(PROTOCOLS)}; received {protocol!r}")
    if any(scale < 1 or not math.isfinite(scale) for scale in scales):
        raise ValueError(f"scales are at least 1; received {list(scales)}")
    results = [Scores(name) for name in methods]
    done = 0
    for scale in scales:
        for pair in test_set.pairs(scale):
            size = (pair.clean.shape[1], pair.clean.shape[2])
            for result, upscaler in zip(results, methods.values(), strict=True):
                value = score(upscaler(pair.low, size).cpu(), pair.clean, scale, protocol)
                result.psnr.setdefault(f"{scale:g}", {})[pair.name] = value
            done += 1
            if progress:
                progress(done, f"{pair.name} ×{scale:g}")
    return results


def markdown_table(results: Sequence[Scores], scales: Sequence[float]) -> str:
    """Mean PSNR (dB) per method and scale as a Markdown table."""
    head = "| PSNR, dB | " + " | ".join(f"×{s:g}" for s in scales) + " |"
    rule = "|---" * (len(scales) + 1) + "|"
    rows = [f"| {r.method} | " + " | ".join(f"{r.mean(s):.2f}" for s in scales) + " |" for r in results]
    return "\n".join([head, rule, *rows])

"""The protocols of super-resolution.

* ``benchmark`` (Set5, Set14, B100, Urban100): PSNR of the luma, ``scale`` pixels shaved off every border.
* ``div2k``: PSNR over RGB, ``scale + 6`` pixels shaved.
* ``plain``: PSNR over RGB, nothing shaved.

Other metrics are shaved the same way.

Predictions are clamped, not rounded to 8 bits; a set's score is the mean of its pictures' scores. Up to x4 the
low-resolution pictures are MATLAB-bicubic: the set's own files if it has them, computed otherwise; the clean picture is
cropped to their size times the scale. Above x4 they have ``floor(H/s)`` pixels, by Pillow's bicubic from the picture
cropped to ``round(h s)`` (as in LIIF).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from implicitkit.degradations.super_resolution import SuperResolution
from implicitkit.errors import DataError
from implicitkit.evaluation.protocol import Example, ModelMethod, Progress, Protocol
from implicitkit.evaluation.scores import Metrics, Scores
from implicitkit.images.folders import by_name, picture_files
from implicitkit.images.io import READABLE, read_image
from implicitkit.images.resize import Kernel, resize
from implicitkit.metrics import Metric
from implicitkit.metrics.base import shaved

Convention = Literal["benchmark", "div2k", "plain"]
SCALES = (2.0, 3.0, 4.0)
MAX_MATLAB_SCALE = 4
Upscaler = Callable[[Tensor, tuple[int, int]], Tensor]
"""``(3, h, w)`` and ``(H, W)`` -> ``(3, H, W)``, both in [0, 1]."""


@dataclass(frozen=True)
class Pair:
    """A low-resolution picture and its clean one, cropped to the part that it covers; ``(3, H, W)`` in [0, 1]."""

    name: str
    low: Tensor
    clean: Tensor


class TestSet:
    """A folder of clean pictures, with or without low-resolution files.

    Known layouts: ``HR/`` with ``LR_bicubic/X2/`` (names may end in ``x2``), ``X2/HR`` with ``X2/LR``, DIV2K's
    ``..._HR`` with ``..._LR_bicubic/X2``, and a plain folder of pictures.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     TestSet(folder).name == Path(folder).name
    True
    """

    __test__ = False  # for pytest

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DataError(f"there is no folder {folder}")
        self.name = self.folder.name

    def count(self, scale: float) -> int:
        """The number of pictures at ``scale``."""
        return len(self._clean_files(scale))

    def pairs(self, scale: float) -> Iterator[Pair]:
        """Yield all pictures at one scale.

        Raises:
            DataError: the folder holds no pictures, or a low-resolution file is missing or does not fit.
        """
        for read in self.readers(scale).values():
            yield read()

    def readers(self, scale: float) -> dict[str, Callable[[], Pair]]:
        """Name -> what reads the pair, for all pictures at one scale.

        Raises:
            DataError: the folder holds no pictures, or two of one name.
        """
        low = self._low_folder(scale)
        files = by_name(self._clean_files(scale))
        return {stem: partial(self._read, stem, file, low, scale) for stem, file in files.items()}

    @staticmethod
    def _read(stem: str, file: Path, low: Path | None, scale: float) -> Pair:
        if low is None:
            return make_pair(stem, read_image(file), scale)
        stems = (stem, f"{stem}x{scale:g}")
        files = [p for s in stems for e in READABLE if (p := low / f"{s}{e}").is_file()]
        if not files:
            raise DataError(f"{low} has no low-resolution picture for {file.name}")
        return _fit(stem, read_image(files[0]), read_image(file), scale)

    def _clean_files(self, scale: float) -> list[Path]:
        candidates = [self.folder / f"X{scale:g}" / "HR", self.folder / "HR", *sorted(self.folder.glob("*_HR"))]
        if not (self.folder / "HR").is_dir():  # else the clean pictures of another scale
            candidates += sorted(self.folder.glob("X*/HR"))
        files = picture_files([next((c for c in candidates if c.is_dir()), self.folder)])
        return _without_degraded(files, scale)

    def _low_folder(self, scale: float) -> Path | None:
        if scale > MAX_MATLAB_SCALE:
            return None
        places = [self.folder / f"X{scale:g}" / "LR", self.folder / "LR_bicubic" / f"X{scale:g}"]
        places += sorted(self.folder.glob(f"*_LR_bicubic/X{scale:g}"))
        return next((p for p in places if p.is_dir()), None)


def _without_degraded(files: list[Path], scale: float) -> list[Path]:
    """The clean pictures of a folder that holds all versions, as SelfExSR's do: ``img_001_SRF_2_HR.png`` beside ``_LR``
    and other methods' results.
    """
    clean = [file for file in files if file.stem.endswith("_HR")]
    if not clean or len(clean) == len(files):
        return files
    same = [file for file in clean if f"_SRF_{scale:g}_" in file.stem]
    return list({file.stem.partition("_SRF_")[0]: file for file in same or clean}.values())  # each picture once


def make_pair(name: str, clean: Tensor, scale: float) -> Pair:
    """Degrade a clean picture by ``scale`` to 8 bits, with MATLAB's kernel up to x4, Pillow's above.

    >>> make_pair("noise", torch.rand(3, 25, 30), 4).low.shape
    torch.Size([3, 6, 7])
    """
    kernel: Kernel = "matlab" if scale <= MAX_MATLAB_SCALE else "pil"
    degraded = SuperResolution(scale=scale, kernel=kernel, quantise=True)(clean, torch.Generator())
    return Pair(name, degraded.image, degraded.reference)


def _fit(name: str, low: Tensor, clean: Tensor, scale: float) -> Pair:
    size = [round(n * scale) for n in low.shape[1:]]
    if any(n > m or m - n > scale for n, m in zip(size, clean.shape[1:], strict=True)):
        raise DataError(
            f"{name}: a low-resolution picture of {low.shape[2]}×{low.shape[1]} at ×{scale:g} "
            f"does not fit a clean one of {clean.shape[2]}×{clean.shape[1]}"
        )
    return Pair(name, low, clean[:, : size[0], : size[1]])


def score(prediction: Tensor, clean: Tensor, scale: float, protocol: Convention, metric: Metric | None = None) -> float:
    """One picture's score by ``protocol`` (default metric: its PSNR, dB); fractional scales shave ``ceil(scale)``.

    >>> round(score(torch.zeros(3, 20, 20), torch.full((3, 20, 20), 0.1), 2, "plain"), 3)
    20.0
    """
    border = PROTOCOLS[protocol].border(scale)
    metric = metric or PROTOCOLS[protocol]().metrics(None)[0]
    return metric(shaved(prediction.clamp(0, 1), border), shaved(clean, border))


def bicubic(low: Tensor, size: tuple[int, int]) -> Tensor:
    """MATLAB's bicubic enlargement, the first row of every table.

    >>> bicubic(torch.zeros(3, 4, 4), (8, 6)).shape
    torch.Size([3, 8, 6])
    """
    return resize(low, size, "matlab")


def evaluate(
    methods: Mapping[str, Upscaler],
    test_set: TestSet,
    scales: Sequence[float],
    protocol: Convention = "benchmark",
    progress: Progress | None = None,
    metrics: Metrics | None = None,
) -> Scores:
    """Score every method on every picture at every scale.

    Args:
        methods: name -> upscaler; :func:`bicubic` is one.
        test_set: the pictures.
        scales: magnifications of at least 1; each is a setting of the result (``"2"``, ``"3.5"``).
        protocol: decides the border to shave and the default metric.
        progress: see :data:`~implicitkit.evaluation.protocol.Progress`.
        metrics: names, specs or :class:`~implicitkit.metrics.Metric` objects (default: the protocol's).

    >>> import tempfile
    >>> from implicitkit.images.io import write_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(f"{folder}/noise.png", torch.rand(3, 24, 24))
    ...     evaluate({"bicubic": bicubic}, TestSet(folder), [2]).units
    {'psnr_y': 'dB'}
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"the protocol is one of {', '.join(PROTOCOLS)}; received {protocol!r}")
    answers = {name: of_pictures(upscaler) for name, upscaler in methods.items()}
    return PROTOCOLS[protocol](scales).compare(answers, test_set.folder, metrics=metrics, progress=progress)


def of_pictures(upscaler: Upscaler) -> ModelMethod:
    """An upscaler as a function of an example."""
    return lambda example: upscaler(example.image, example.size)


class SuperResolutionProtocol(Protocol):
    """Super-resolution; see :mod:`implicitkit.evaluation.super_resolution`.

    Args:
        scales: magnifications of at least 1.
    """

    trivial_answers: Mapping[str, ModelMethod] = {"bicubic": of_pictures(bicubic)}

    def __init__(self, scales: Sequence[float] = SCALES) -> None:
        if not scales or any(scale < 1 or not math.isfinite(scale) for scale in scales):
            raise ValueError(f"scales are at least 1; received {list(scales)}")
        self.scales = list(scales)

    @staticmethod
    def border(scale: float) -> int:
        """Pixels to shave off every border."""
        return 0

    def count(self, data: Path) -> int:
        test_set = TestSet(data)
        return sum(test_set.count(scale) for scale in self.scales)

    def examples(self, data: Path) -> Iterator[Example]:
        test_set = TestSet(data)
        for scale in self.scales:
            for name, read in test_set.readers(scale).items():
                with self.picture(name):
                    pair = read()
                    yield Example(f"{scale:g}", pair.name, pair.low, None, pair.clean)

    def score(self, prediction: Tensor, example: Example, metrics: Sequence[Metric]) -> Mapping[str, float]:
        border = self.border(float(example.setting))
        pictures = shaved(prediction.clamp(0, 1), border), shaved(example.truth, border)
        return {metric.name: metric(*pictures) for metric in metrics}

    def settings(self) -> dict[str, Any]:
        return {"scales": self.scales}


class Benchmark(SuperResolutionProtocol):
    """PSNR of the luma, ``scale`` pixels shaved: Set5, Set14, B100, Urban100.

    >>> Benchmark([2, 3.5]).border(3.5)
    4
    """

    usual: ClassVar[Metrics] = ("psnr_y",)

    @staticmethod
    def border(scale: float) -> int:
        return math.ceil(scale)


class DIV2K(SuperResolutionProtocol):
    """PSNR over RGB, ``scale + 6`` pixels shaved.

    >>> DIV2K().border(4)
    10
    """

    usual: ClassVar[Metrics] = ("psnr",)

    @staticmethod
    def border(scale: float) -> int:
        return math.ceil(scale) + 6


class Plain(SuperResolutionProtocol):
    """PSNR over RGB, nothing shaved.

    >>> Plain([8]).settings()
    {'scales': [8]}
    """

    usual: ClassVar[Metrics] = ("psnr",)


PROTOCOLS: Mapping[Convention, type[SuperResolutionProtocol]] = {"benchmark": Benchmark, "div2k": DIV2K, "plain": Plain}

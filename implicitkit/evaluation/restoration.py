"""The protocol of restoration from any degradation.

* Pictures are whole, or the middle square at ``size`` pixels a side, in 8-bit steps.
* Each setting of a table is a degradation (noise of one strength, a blur, a chain of several). Its random numbers
  depend on the seed, the setting's label and the picture's place in the set's sorted order alone.
* A model predicts the clean picture at its own size. Predictions are clamped, not rounded or shaved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from implicitkit.create import create_degradation
from implicitkit.degradations.base import Degradation, seeded
from implicitkit.evaluation.inpainting import check_size, prepare
from implicitkit.evaluation.protocol import Example, ModelMethod, Progress, Protocol
from implicitkit.evaluation.scores import BIN, NUMBER, Metrics, Scores
from implicitkit.images.folders import by_name, picture_files
from implicitkit.images.io import read_image
from implicitkit.images.resize import resize

Spec = str | dict[str, Any]
NOISE_LEVELS: Mapping[str, Spec | list[Spec]] = {f"sigma {s}": {"name": "noise", "sigma": s} for s in (15, 25, 50)}
"""The levels that denoising papers report."""
Restorer = Callable[[Tensor, tuple[int, int], Tensor], Tensor]
"""The degraded picture ``(3, h, w)``, the output size and the mask ``(1, h, w)`` (1 = missing) -> ``(3, H, W)``."""


def as_degraded(image: Tensor, size: tuple[int, int], mask: Tensor) -> Tensor:
    """The degraded picture itself, resized to ``size`` by MATLAB's bicubic: the first row of every table.

    >>> import torch
    >>> as_degraded(torch.zeros(3, 4, 4), (8, 6), torch.zeros(1, 4, 4)).shape
    torch.Size([3, 8, 6])
    """
    return image if image.shape[1:] == size else resize(image, size, "matlab")


def evaluate_restoration(
    methods: Mapping[str, Restorer],
    folder: str | Path,
    settings: Mapping[str, Spec | list[Spec]] = NOISE_LEVELS,
    metrics: Metrics | None = None,
    *,
    size: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Scores:
    """Score every method on every picture of a folder, once per degradation.

    Args:
        methods: name -> restorer; :func:`as_degraded` is one.
        folder: clean pictures, sub-folders included.
        settings: label -> degradation, or a list of those to apply in order; a label is a setting of the result.
        metrics: names, specs or :class:`~implicitkit.metrics.Metric` objects (default: PSNR, SSIM and L1).
        size: side of the pictures; None: their own.
        seed: of the degradations.
        progress: see :data:`~implicitkit.evaluation.protocol.Progress`.

    Returns:
        Scores; ``records`` holds each picture's record.

    Raises:
        DataError: a picture is smaller than ``size``.
        ValueError: there is no setting, or a label reads as a magnification or a bin.

    >>> import tempfile, torch
    >>> from implicitkit.images.io import write_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(f"{folder}/noise.png", torch.rand(3, 24, 24))
    ...     list(evaluate_restoration({"none": as_degraded}, folder).values["none"])
    ['sigma 15', 'sigma 25', 'sigma 50']
    """
    protocol = RestorationProtocol(dict(settings), size, seed)
    answers = {name: of_pictures(restorer) for name, restorer in methods.items()}
    return protocol.compare(answers, Path(folder), metrics=metrics, progress=progress)


def of_pictures(restorer: Restorer) -> ModelMethod:
    """A restorer as a function of an example."""

    def answer(example: Example) -> Tensor:
        assert example.mask is not None
        return restorer(example.image, example.size, example.mask)

    return answer


def create_degradations(settings: Mapping[str, Spec | Sequence[Spec]]) -> dict[str, Degradation]:
    """The degradation of each setting.

    Raises:
        ValueError: see :func:`evaluate_restoration`.
    """
    if not settings:
        raise ValueError("restoration takes settings, label -> degradation, one at least; received none")
    for label in settings:
        reserved = NUMBER.fullmatch(label) or BIN.fullmatch(label)  # a magnification, a bin
        if reserved or not label.strip() or "|" in label or len(label.splitlines()) > 1:
            raise ValueError(f"a setting's label is a line of text such as 'sigma 25'; received {label!r}")
    return {label: create_degradation(spec) for label, spec in settings.items()}


class RestorationProtocol(Protocol):
    """Restoration from any degradation; see :mod:`implicitkit.evaluation.restoration`.

    Args:
        settings: label -> degradation, or a list of those to apply in order (default: gaussian noise of three
            strengths).
        size: side of the pictures, which are cut to their middle square; None or 0: whole pictures.
        seed: of the degradations.

    >>> RestorationProtocol({"soft": {"name": "blur", "sigma": 2}}).settings()["settings"]
    {'soft': {'name': 'blur', 'sigma': 2}}
    """

    trivial_answers: Mapping[str, ModelMethod] = {"degraded input": of_pictures(as_degraded)}

    def __init__(
        self, settings: dict[str, Spec | list[Spec]] | None = None, size: int | None = None, seed: int = 0
    ) -> None:
        self.degradations = dict(NOISE_LEVELS if settings is None else settings)
        create_degradations(self.degradations)  # raise now
        self.size, self.seed = check_size(size), seed

    def count(self, data: Path) -> int:
        return len(picture_files([data])) * len(self.degradations)

    def examples(self, data: Path) -> Iterator[Example]:
        degradations = create_degradations(self.degradations)
        for place, (name, file) in enumerate(by_name(picture_files([data])).items()):
            with self.picture(name):
                clean = prepare(read_image(file), self.size, str(file))
                for label, degradation in degradations.items():
                    record = degradation.sample(clean.shape, seeded(self.seed, *label.encode(), place))
                    degraded = degradation.apply(clean, record)
                    yield Example(label, name, degraded.image, degraded.mask, degraded.reference, record)

    def settings(self) -> dict[str, Any]:
        return {"settings": self.degradations, "size": self.size, "seed": self.seed}

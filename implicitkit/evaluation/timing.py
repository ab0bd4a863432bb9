"""What is kept of an evaluation besides its scores: pictures, and times."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from implicitkit.evaluation.costs import count_macs, count_parameters
from implicitkit.evaluation.protocol import Answer, Example
from implicitkit.files import replacing
from implicitkit.images.io import Pixels, to_pixels
from implicitkit.model import ImplicitModel

MAX_PICTURE_BYTES = 128 << 20  # that are kept of one evaluation


@dataclass
class Costs:
    """What a method costs.

    Attributes:
        total: numbers that a model holds.
        trainable: those of them that training may change.
        macs: multiply-accumulates of answering one example.
        seconds: of answering one, the median over the examples.
        input: ``[h, w]`` of the first example.
        output: ``[H, W]`` of its answer.
    """

    total: int | None = None
    trainable: int | None = None
    macs: int | None = None
    seconds: float | None = None
    input: list[int] | None = None
    output: list[int] | None = None


@dataclass
class Watch:
    """Give it to :meth:`~implicitkit.evaluation.protocol.Protocol.evaluate` as ``seen``; it keeps pictures, in 8 bits,
    and times.

    Attributes:
        first: the first example of each method, to count operations on.
    """

    first: dict[str, Example] = field(default_factory=dict)
    _seconds: dict[str, list[float]] = field(default_factory=dict)
    _pictures: dict[str, Pixels] = field(default_factory=dict)

    def __call__(self, method: str, example: Example, prediction: Any, seconds: float) -> None:
        self.first.setdefault(method, example)
        self._seconds.setdefault(method, []).append(seconds)
        is_picture = isinstance(prediction, Tensor) and prediction.shape == example.truth.shape
        if is_picture and sum(p.nbytes for p in self._pictures.values()) < MAX_PICTURE_BYTES:
            for name, picture in (("input", example.image), ("truth", example.truth), (f"row {method}", prediction)):
                pixels = to_pixels(picture.float().cpu().clamp(0, 1))
                self._pictures[f"{example.setting}|{example.name}|{name}"] = pixels

    def costs(self, method: str, model: ImplicitModel | None = None, answer: Answer | None = None) -> Costs:
        """What ``method`` costs; of a model, its parameters and the operations of its ``answer`` as well."""
        costs = Costs()
        if model is not None:
            costs.total, costs.trainable = count_parameters(model)
        if method in self.first:
            example = self.first[method]
            costs.seconds = statistics.median(self._seconds[method])
            costs.input, costs.output = list(example.image.shape[-2:]), list(example.size)
            costs.macs = None if answer is None else count_macs(lambda: answer(example))
        return costs

    def write(self, file: Path) -> None:
        """Write the pictures, for :func:`read_pictures`."""
        arrays: Any = self._pictures
        with replacing(file) as temporary:
            np.savez_compressed(temporary, **arrays)


def read_pictures(file: Path, setting: str, picture: str) -> dict[str, Pixels]:
    """What is kept of one picture: ``input``, ``truth`` and, for each method, ``row METHOD``; ``(H, W, 3)`` uint8.
    Nothing where there was no room for it, or a prediction is no picture.
    """
    if not file.is_file():
        return {}
    with np.load(file) as stored:
        prefix = f"{setting}|{picture}|"
        return {name.removeprefix(prefix): stored[name] for name in stored.files if name.startswith(prefix)}

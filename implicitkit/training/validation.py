"""Validation while training: a protocol over the held-out pictures.

The score is the PSNR of the luma on whole pictures, or the loss for models whose output is an embedding.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from implicitkit.config import TrainConfig, naming
from implicitkit.coordinates import cell_size, grid
from implicitkit.create import create_degradation
from implicitkit.degradations.base import Degradation, seeded
from implicitkit.errors import DataError
from implicitkit.evaluation.protocol import Example, ModelMethod, Protocol
from implicitkit.images.io import read_image
from implicitkit.losses import WeightedLoss
from implicitkit.metrics import Metric, psnr_y
from implicitkit.model import ImplicitModel

MAX_POINTS = 4096  # per picture, for the loss of an embedding
MIN_SIDE = 4  # low-resolution pixels; shaving needs some


@dataclass(frozen=True)
class Validation:
    """The result of a validation.

    Attributes:
        scores: one number per task.
        picture: ``(3, H, W)``, for the log.
        kind: ``"psnr"``, the higher the better, or ``"loss"``, the lower the better.
    """

    scores: dict[str, float]
    picture: Tensor
    kind: Literal["psnr", "loss"] = "psnr"


class HeldOut(Protocol):
    """Pictures that are degraded once, at every task; see :class:`Validator`."""

    kind: Literal["psnr", "loss"] = "psnr"

    def __init__(self, examples: Sequence[Example], scales: Mapping[str, float]) -> None:
        self.stored, self.scales = list(examples), dict(scales)

    def count(self, data: Path) -> int:
        return len(self.stored)

    def examples(self, data: Path) -> Iterator[Example]:
        yield from self.stored

    def score(self, prediction: Tensor, example: Example, metrics: Sequence[Metric]) -> dict[str, float]:
        scale = self.scales[example.setting]
        return {self.kind: psnr_y(prediction, example.truth, shave=math.ceil(scale) if scale > 1 else 0)}

    def check(self, model: ImplicitModel, name: str = "the model") -> None:
        """Accept any model."""

    def shown(self, model: ImplicitModel, example: Example, prediction: Tensor) -> Tensor:
        """A prediction as a picture ``(3, H, W)``."""
        return prediction


class HeldOutLoss(HeldOut):
    """For models whose output is an embedding: the loss at random points."""

    kind: Literal["psnr", "loss"] = "loss"

    def __init__(self, examples: Sequence[Example], scales: Mapping[str, float], losses: WeightedLoss) -> None:
        super().__init__(examples, scales)
        self.losses = losses

    def answer(self, model: ImplicitModel, data: Path, encode: Mapping[str, Any]) -> ModelMethod:
        def loss(example: Example) -> Tensor:
            assert example.mask is not None
            points = torch.randperm(math.prod(example.size), generator=seeded(int(example.name)))[:MAX_POINTS]
            batch = {
                "image": example.image[None],
                "mask": example.mask[None],
                "coords": grid(example.size)[points][None],
                "cell": cell_size(example.size)[None, None],
                "target": example.truth.flatten(1).t()[points][None],
                "reference": example.truth[None],
            }
            device = next(model.parameters()).device
            batch = {key: value.to(device) for key, value in batch.items()}
            mask = batch["mask"] if model.takes_mask else None
            prediction = model(batch["image"], batch["coords"], batch["cell"], mask)
            return self.losses.sum(self.losses.each(prediction, batch))

        return loss

    def score(self, prediction: Tensor, example: Example, metrics: Sequence[Metric]) -> dict[str, float]:
        return {self.kind: float(prediction)}

    def shown(self, model: ImplicitModel, example: Example, prediction: Tensor) -> Tensor:
        """The embedding's first three principal components as colours."""
        return as_colours(super().answer(model, Path(), {})(example).cpu())


class Validator:
    """Scores a model on pictures that are degraded the same way every time.

    The constructor reads, degrades and checks all pictures, so that none can stop a run hours later.

    Raises:
        DataError: a picture is too small for one of the scales.
        ImageError: a picture cannot be read.
    """

    def __init__(self, files: Sequence[Path], config: TrainConfig, losses: WeightedLoss) -> None:
        self.files, self.losses, self.options = list(files), losses, dict(config.validation.options)
        self.resolved = {file.resolve() for file in self.files}
        side = config.validation.max_size
        with naming("degradation"):
            tasks = at_scales(config.degradation_spec, config.validation.scales)
        self.scales = {label: scale for label, (scale, _) in tasks.items()}
        pictures = [centre(read_image(file), side) for file in self.files]
        largest = max(self.scales.values())
        for file, clean in zip(self.files, pictures, strict=True):
            if min(clean.shape[1:]) < MIN_SIDE * largest:
                h, w = clean.shape[1:]
                raise DataError(
                    f"{file} ({w}×{h} pixels) is too small to validate on at scale {largest:g}; "
                    f"it needs {math.ceil(MIN_SIDE * largest)} a side: leave it out or lower validation.scales"
                )
        self.examples: list[Example] = []
        with naming("degradation"):
            for label, (_, degradation) in tasks.items():
                for k, clean in enumerate(pictures):
                    degraded = degradation(clean, generator=seeded(k))
                    self.examples.append(Example(label, str(k), degraded.image, degraded.mask, degraded.reference))

    def __bool__(self) -> bool:
        return bool(self.files)

    @torch.no_grad()
    def __call__(self, model: ImplicitModel) -> Validation:
        """The mean score per task, and the first picture at the last task: input, output, truth."""
        embeds = model.decoder.output == "embedding"
        held_out = (
            HeldOutLoss(self.examples, self.scales, self.losses) if embeds else HeldOut(self.examples, self.scales)
        )
        picture = torch.zeros(3, 1, 1)

        def keep(method: str, example: Example, prediction: Tensor, seconds: float) -> None:
            nonlocal picture
            if example is shown:
                output = held_out.shown(model, example, prediction)
                picture = torch.cat([F.interpolate(example.image[None], example.size)[0], output, example.truth], 2)

        shown = next((example for example in reversed(self.examples) if example.name == "0"), None)
        scores = held_out.evaluate({"model": model}, Path(), encode={"options": self.options}, seen=keep)
        means = {label: scores.mean("model", label, held_out.kind) for label in self.scales}
        return Validation(means, picture, held_out.kind)


def centre(picture: Tensor, side: int) -> Tensor:
    """The middle of a picture ``(3, H, W)``, at most ``side`` pixels a side."""
    top, left = (max(0, (n - side) // 2) for n in picture.shape[1:])
    return picture[:, top : top + side, left : left + side]


def as_colours(embedding: Tensor) -> Tensor:
    """The first three principal components of an embedding ``(D, H, W)`` as a picture ``(3, H, W)`` in [0, 1]."""
    rows = embedding.flatten(1).t()
    rows = rows - rows.mean(0)
    _, _, directions = torch.linalg.svd(rows.t() @ rows)
    colours = rows @ directions[:3].t()
    low, high = colours.amin(0), colours.amax(0)
    picture = torch.zeros(3, *embedding.shape[1:])
    scaled = (colours - low) / (high - low).clamp(min=1e-9)
    picture[: colours.shape[1]] = scaled.t().reshape(-1, *embedding.shape[1:])
    return picture


def at_scales(spec: Any, scales: Sequence[float]) -> dict[str, tuple[float, Degradation]]:
    """The degradation with its super-resolution step, if any, at each of ``scales``: label -> (scale, degradation).

    >>> list(at_scales({"name": "super_resolution", "scale": [1, 4]}, [2, 3])), list(at_scales({"name": "blur"}, [2]))
    (['x2', 'x3'], ['all'])
    """
    steps = spec if isinstance(spec, list) else [spec]
    if not any(step["name"] == "super_resolution" for step in steps):
        return {"all": (1.0, create_degradation(spec))}
    tasks: dict[str, tuple[float, Degradation]] = {}
    for scale in scales:
        fixed = copy.deepcopy(steps)
        for step in fixed:
            if step["name"] == "super_resolution":
                step["scale"] = scale
                step.pop("size", None)
                step.pop("per_axis", None)
        tasks[f"x{scale:g}"] = (scale, create_degradation(fixed if isinstance(spec, list) else fixed[0]))
    return tasks

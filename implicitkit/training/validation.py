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
from implicitkit.datasets.base import HALF_GREY, Dataset, Pair, as_dataset
from implicitkit.degradations.base import Degradation, seeded
from implicitkit.errors import ConfigError, DataError, ImageError, nearest
from implicitkit.evaluation.protocol import Example, ModelMethod, Protocol
from implicitkit.evaluation.scores import Metrics, create_metrics
from implicitkit.images.io import read_image, to_tensor
from implicitkit.losses import WeightedLoss
from implicitkit.metrics import Metric, psnr_y
from implicitkit.model import ImplicitModel

MAX_POINTS = 4096  # per picture, for the loss of an embedding

MIN_SIDE = 4  # low-resolution pixels; shaving needs some


@dataclass(frozen=True)
class Validation:
    """The result of a validation.

    Attributes:
        scores: metric -> one number per task; the first metric is ``psnr`` (PSNR-Y), or ``loss`` for embeddings.
        picture: ``(3, H, W)``, for the log.
        best: the metric that ``best.safetensors`` is the best by.
        lower_is_better: the metrics that are better when lower.

    >>> Validation({"psnr": {"x2": 30.0, "x4": 26.0}}, torch.zeros(3, 1, 1)).means
    {'psnr': 28.0}
    """

    scores: dict[str, dict[str, float]]
    picture: Tensor
    best: str = "psnr"
    lower_is_better: frozenset[str] = frozenset()

    @property
    def means(self) -> dict[str, float]:
        """The mean over tasks of each metric."""
        return {metric: sum(tasks.values()) / len(tasks) for metric, tasks in self.scores.items()}


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
        own: dict[str, float] = {
            self.kind: psnr_y(prediction, example.truth, shave=math.ceil(scale) if scale > 1 else 0)
        }
        return {**own, **super().score(prediction, example, metrics)} if metrics else own

    def metrics(self, metrics: Metrics | None) -> list[Metric]:
        """Those that are asked for, beside the PSNR of the luma; there may be none."""
        return create_metrics(metrics) if metrics else []

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

    Args:
        pictures: files, or datasets; those of pairs are validated on as they are.
        config: the whole run.
        losses: for models whose output is an embedding.

    Raises:
        ConfigError: a metric is not known.
        DataError: a picture is too small for one of the scales.
        ImageError: a picture cannot be read, and ``data.unreadable`` is ``error``.
    """

    def __init__(self, pictures: Sequence[Path | Dataset], config: TrainConfig, losses: WeightedLoss) -> None:
        self.losses, self.options = losses, dict(config.validation.options)
        with naming("validation.metrics"):
            named = [m for m in config.validation.metrics if m not in ("psnr_y", "psnr-y")]
            self.metrics = create_metrics(named) if named else []
            if any(metric.name in ("psnr", "loss") for metric in self.metrics):
                raise ValueError("psnr is what the log calls PSNR-Y, which is always measured; leave it out")
        self.best = "psnr" if config.validation.best == "psnr_y" else config.validation.best
        if self.best not in (names := ["psnr", *(metric.name for metric in self.metrics)]):
            near = nearest(self.best, names)
            raise ConfigError(
                f"validation.best: {self.best!r} is not measured; "
                + (f"did you mean {near[0]!r}?" if near else f"it is one of {', '.join(names)}; add it to metrics")
            )
        sources = [p if isinstance(p, Dataset) else as_dataset([p]) for p in pictures]
        self.items = [(source, k) for source in sources for k in range(len(source))]
        self.resolved = {file.resolve() for source, k in self.items if (file := source.file(k)) is not None}
        self.unreadable: list[str] = []
        self.scales: dict[str, float] = {}
        self.examples: list[Example] = []
        read = [(item, clean) for item in self.items if (clean := self._read(*item, config)) is not None]
        self.items = [item for item, _ in read]
        paired = [(k, source.pair(at)) for k, (source, at) in enumerate(self.items) if source.paired]
        to_degrade = [(k, item, picture) for k, (item, picture) in enumerate(read) if not item[0].paired]
        if to_degrade and not config.degradation:
            raise ConfigError("validation.folders: clean pictures need a degradation; hold out pairs of data.dataset")
        self._add_pairs(paired, config.validation.max_size)
        if to_degrade or not paired:
            self._add_degraded(to_degrade, config)

    def _read(self, source: Dataset, k: int, config: TrainConfig) -> Tensor | None:
        """A clean picture ``(3, H, W)``; None if it cannot be read and is to be skipped."""
        file = source.file(k)
        try:
            if source.paired:
                source.pair(k)
                return torch.zeros(0)
            return centre(to_tensor(source[k]) if file is None else read_image(file), config.validation.max_size)
        except ImageError:
            if config.data.unreadable == "error":
                raise
            self.unreadable.append(source.names[k])
            return None

    def _add_pairs(self, pairs: Sequence[tuple[int, Pair]], side: int) -> None:
        for k, pair in pairs:
            scale = pair.scale
            label = f"x{scale}" if scale > 1 else "all"
            self.scales[label] = float(scale)
            image = centre(to_tensor(pair.input), max(1, side // scale))
            (top, left), (h, w) = offset(pair.input.shape[:2], max(1, side // scale)), image.shape[1:]
            target = to_tensor(pair.target)[:, top * scale : (top + h) * scale, left * scale : (left + w) * scale]
            mask = torch.zeros(1, h, w)
            if pair.mask is not None:
                mask = torch.from_numpy(pair.mask[top : top + h, left : left + w] > HALF_GREY).float()[None]
            self.examples.append(Example(label, str(k), image, mask, target))

    def _add_degraded(self, pictures: Sequence[tuple[int, tuple[Dataset, int], Tensor]], config: TrainConfig) -> None:
        with naming("degradation"):
            tasks = at_scales(config.degradation_spec, config.validation.scales)
        self.scales |= {label: scale for label, (scale, _) in tasks.items()}
        largest = max(scale for scale, _ in tasks.values())
        for _, (source, at), clean in pictures:
            if min(clean.shape[1:]) < MIN_SIDE * largest:
                h, w = clean.shape[1:]
                raise DataError(
                    f"{source.names[at]} ({w}×{h} pixels) is too small to validate on at scale {largest:g}; "
                    f"it needs {math.ceil(MIN_SIDE * largest)} a side: leave it out or lower validation.scales"
                )
        with naming("degradation"):
            for label, (_, degradation) in tasks.items():
                for k, _, clean in pictures:
                    degraded = degradation(clean, generator=seeded(k))
                    self.examples.append(Example(label, str(k), degraded.image, degraded.mask, degraded.reference))

    def __bool__(self) -> bool:
        return bool(self.items)

    @torch.no_grad()
    def __call__(self, model: ImplicitModel) -> Validation:
        """The mean score per task, and the first picture at the last task: input, output, truth."""
        embeds = model.decoder.output == "embedding"
        if embeds and self.metrics:
            raise ConfigError("validation.metrics: the model's output is an embedding, which has no metrics")
        held_out = (
            HeldOutLoss(self.examples, self.scales, self.losses) if embeds else HeldOut(self.examples, self.scales)
        )
        picture = torch.zeros(3, 1, 1)
        first = self.examples[0].name if self.examples else ""

        def keep(method: str, example: Example, prediction: Tensor, seconds: float) -> None:
            nonlocal picture
            if example is shown:
                output = held_out.shown(model, example, prediction)
                picture = torch.cat([F.interpolate(example.image[None], example.size)[0], output, example.truth], 2)

        shown = next((example for example in reversed(self.examples) if example.name == first), None)
        encode = {"options": self.options}
        scores = held_out.evaluate({"model": model}, Path(), metrics=self.metrics, encode=encode, seen=keep)
        metrics = [held_out.kind, *(metric.name for metric in self.metrics)]
        means = {metric: {task: scores.mean("model", task, metric) for task in self.scales} for metric in metrics}
        lower = {metric.name for metric in self.metrics if not metric.higher_is_better}
        return Validation(means, picture, "loss" if embeds else self.best, frozenset(lower | {"loss"}))


def offset(size: Sequence[int], side: int) -> tuple[int, int]:
    """The first row and column of the middle, at most ``side`` pixels a side, of a picture of ``size``."""
    top, left = (max(0, (n - side) // 2) for n in size)
    return top, left


def centre(picture: Tensor, side: int) -> Tensor:
    """The middle of a picture ``(3, H, W)``, at most ``side`` pixels a side."""
    top, left = offset(picture.shape[1:], side)
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

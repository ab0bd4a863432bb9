"""The protocol contract: a protocol yields examples, methods answer them, metrics compare answers with the truth."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from torch import Tensor

from implicitkit.errors import UserError
from implicitkit.evaluation.scores import Metrics, Scores, create_metrics, setting_name
from implicitkit.metrics import Metric
from implicitkit.model import ImplicitModel


@dataclass(frozen=True)
class Example:
    """One question of a test set, and its answer.

    Attributes:
        setting: the column it belongs to: ``"4"`` (×4), ``"20-40"`` (percent missing), ``"sigma 25"``.
        name: the picture's name, the same in all settings.
        image: what a method is shown, ``(3, h, w)`` in [0, 1].
        mask: ``(1, h, w)``, 1 where a pixel is missing; None if the protocol makes no holes.
        truth: the right answer, ``(3, H, W)`` in [0, 1] for pictures.
        record: what was drawn to make the example, as JSON can hold it; None if nothing was.

    Example:
        >>> import torch
        >>> Example("2", "cat", torch.zeros(3, 4, 5), None, torch.zeros(3, 8, 10)).size
        (8, 10)
    """

    setting: str
    name: str
    image: Tensor
    mask: Tensor | None
    truth: Tensor
    record: Mapping[str, Any] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)`` of the truth: the size that a method is asked for."""
        return self.truth.shape[-2], self.truth.shape[-1]


Answer = Callable[[Example], Any]
"""A method: an example -> its prediction, ``(3, H, W)`` for pictures."""
Progress = Callable[[int, str], Any]
"""Called with the number of examples done and a note on the one at hand."""
Seen = Callable[[str, Example, Any, float], Any]
"""Called with a method's name, an example, the method's prediction (on the CPU, as it was given) and the seconds it
took."""


class Protocol:
    """How models are scored on a test set: what they are shown, what is measured, and beside which trivial methods.

    A subclass writes :meth:`count` and :meth:`examples`, and sets :attr:`trivial_answers`; :meth:`score` and
    :meth:`answer` have defaults for pictures. The arguments of its constructor are its options: they come from a spec
    (``{"name": "inpainting", "size": 128}``), so they are what JSON can hold, and are checked against their
    annotations. Whatever is drawn at random depends on the options and a picture's place in the test set alone, so
    that every model, today and later, is asked the same.

    Attributes:
        trivial_answers: methods that need no training, by the name of their row. The first is the row that every
            table begins with.
        usual: the metrics that are measured unless others are asked for.
        spec: what it was built from, if it was built by name.

    Example:
        >>> import torch
        >>> class Inverted(Protocol):
        ...     usual = ("l1",)
        ...     trivial_answers = {"grey": lambda example: torch.full_like(example.truth, 0.5)}
        ...     def count(self, data):
        ...         return 1
        ...     def examples(self, data):
        ...         picture = torch.full((3, 8, 8), 0.75)
        ...         yield Example("inverted", "a", 1 - picture, None, picture)
        >>> Inverted().evaluate({}, Path()).values
        {'grey': {'inverted': {'l1': {'a': 0.25}}}}
    """

    usual: ClassVar[Metrics] = ("psnr", "ssim", "l1")
    trivial_answers: Mapping[str, Answer] = MappingProxyType({})
    spec: Any = None

    @property
    def trivial(self) -> str:
        """The name of the first row of every table."""
        return next(iter(self.trivial_answers), "")

    @property
    def trivial_rows(self) -> list[str]:
        """The names of all rows that need no training, in order."""
        return list(self.trivial_answers) or [self.trivial]

    def count(self, data: Path) -> int:
        """How many examples there are.

        Raises:
            DataError: ``data`` is not a test set for this protocol.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement count()")

    def examples(self, data: Path) -> Iterator[Example]:
        """Yield the examples of the test set, one after the other, always the same.

        Raises:
            DataError: ``data`` is not a test set for this protocol.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement examples()")

    def answer(self, model: ImplicitModel, data: Path, encode: Mapping[str, Any]) -> Answer:
        """How a model answers the examples of ``data``: it encodes the picture (with the mask, if it takes one) and
        renders it at the truth's size. ``encode`` is passed on to :meth:`ImplicitModel.encode`.
        """

        def render(example: Example) -> Tensor:
            mask = example.mask if model.takes_mask else None
            return model.encode(example.image, mask, **encode).render(example.size)

        return render

    def metrics(self, metrics: Metrics | None) -> list[Metric]:
        """The metrics to measure; :attr:`usual` in place of None."""
        return create_metrics(self.usual if metrics is None else metrics)

    def new_scores(self, data: Path, metrics: Sequence[Metric]) -> Scores:
        """An empty table for the metrics, with a unit for each name that :meth:`score` returns."""
        return Scores(units={metric.name: metric.unit for metric in metrics})

    def score(self, prediction: Any, example: Example, metrics: Sequence[Metric]) -> Mapping[str, Any]:
        """What each metric says of one prediction; predictions are clamped to [0, 1], not rounded."""
        prediction = prediction.clamp(0, 1)
        return {metric.name: metric(prediction, example.truth) for metric in metrics}

    def evaluate(
        self,
        models: Mapping[str, ImplicitModel],
        data: Path,
        *,
        metrics: Metrics | None = None,
        encode: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        seen: Seen | None = None,
        trivial: bool = True,
    ) -> Scores:
        """Score every model, and the trivial methods, on the test set.

        Args:
            models: name -> model; each is checked (:meth:`admit`) before anything is computed.
            data: the folder of the test set.
            metrics: what to measure (default: :attr:`usual`).
            encode: passed on to :meth:`ImplicitModel.encode`: ``tile``, ``precision``.
            progress: see :data:`Progress`.
            seen: see :data:`Seen`: for who wants the pictures or the times.
            trivial: False leaves the trivial methods out.

        Returns:
            Scores whose first methods are the trivial ones, followed by the models in the order given.

        Raises:
            DataError: ``data`` is not a test set for this protocol.
            UserError: a model cannot be scored by it.
        """
        self.admit(models)
        methods = dict(self.trivial_answers) if trivial else {}
        methods |= {name: self.answer(model, data, encode or {}) for name, model in models.items()}
        return self.compare(methods, data, metrics=metrics, progress=progress, seen=seen)

    def compare(
        self,
        methods: Mapping[str, Answer],
        data: Path,
        *,
        metrics: Metrics | None = None,
        progress: Progress | None = None,
        seen: Seen | None = None,
    ) -> Scores:
        """Score any methods, name -> :data:`Answer`; the other arguments are those of :meth:`evaluate`."""
        measures = self.metrics(metrics)
        scores = self.new_scores(data, measures)
        for done, example in enumerate(self.examples(data), start=1):
            if example.record is not None:
                scores.records.setdefault(example.setting, {})[example.name] = dict(example.record)
            for method, answer in methods.items():
                start = time.perf_counter()
                prediction = answer(example)
                if isinstance(prediction, Tensor):
                    prediction = prediction.cpu()  # waits for the device, so the seconds hold all of the work
                seconds = time.perf_counter() - start
                for metric, value in self.score(prediction, example, measures).items():
                    scores.add(method, example.setting, metric, example.name, value)
                if seen:
                    seen(method, example, prediction, seconds)
            if progress:
                progress(done, f"{example.name}, {setting_name(example.setting)}")
        return scores

    def tables(self, scores: Scores) -> dict[str, list[str]]:
        """How ``scores`` are laid out: title -> names of metrics; one table without a title unless overridden."""
        return {"": list(scores.units)}

    def settings(self) -> dict[str, Any]:
        """What a JSON report records of the options, defaults included."""
        return {} if self.spec is None else {key: value for key, value in self.spec.items() if key != "name"}

    def check(self, model: ImplicitModel, name: str = "the model") -> None:
        """Raise :class:`UserError`, calling it ``name``, if ``model`` cannot be scored by this protocol; unless
        overridden, if it does not map RGB pictures to RGB pictures.
        """
        if model.encoder.in_channels != 3 or model.decoder.out_channels != 3 or model.decoder.output != "picture":
            raise UserError(f"{name} does not map RGB pictures to RGB pictures, so it cannot be scored")

    def admit(self, models: Mapping[str, ImplicitModel]) -> None:
        """Check all models, and that none takes the name of a trivial method and with it its row.

        Raises:
            UserError: one does, or cannot be scored.
        """
        for name, model in models.items():
            if name in self.trivial_rows:
                raise UserError(f"{name!r} is the row of a method that needs no training; rename the model")
            self.check(model, name)

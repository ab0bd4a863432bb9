"""The protocol contract: a protocol yields examples, methods predict, metrics compare predictions with the truth."""

from __future__ import annotations

import time
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from torch import Tensor

from implicitkit.errors import DataError, UserError, describe, first_line
from implicitkit.evaluation.scores import Metrics, Scores, create_metrics, merged, setting_name
from implicitkit.metrics import Metric
from implicitkit.model import ImplicitModel
from implicitkit.printing import with_settings
from implicitkit.registry.failures import explain_fault
from implicitkit.registry.kinds import plugins


@dataclass(frozen=True)
class Example:
    """One example of a test set.

    Attributes:
        setting: its column: ``"4"`` (×4), ``"20-40"`` (percent missing), ``"sigma 25"``.
        name: the picture's name, the same in all settings.
        image: a method's input, ``(3, h, w)`` in [0, 1].
        mask: ``(1, h, w)``, 1 where a pixel is missing; None if the protocol makes no holes.
        truth: the target, ``(3, H, W)`` in [0, 1] for pictures.
        record: the random numbers of the example, as JSON can hold them; None if there are none.

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
        """``(H, W)`` of the truth, and of the prediction."""
        return self.truth.shape[-2], self.truth.shape[-1]


ModelMethod = Callable[[Example], Any]
"""A method: an example -> its prediction, ``(3, H, W)`` for pictures."""
Answer = ModelMethod  # its former name
Progress = Callable[[int, str], Any]
"""Called with the number of examples done and a note on the current one."""
Seen = Callable[[str, Example, Any, float], Any]
"""Called with a method's name, an example, the method's prediction (on the CPU) and the seconds it took."""


class Team(typing.Protocol):
    """The processes that share the pictures of a test set."""

    @property
    def rank(self) -> int:
        """The number of this one, from 0."""

    @property
    def count(self) -> int:
        """How many there are."""

    def gather(self, value: Scores) -> list[Scores]:
        """The values of all of them, in order."""


def check_options(models: Mapping[str, ImplicitModel], options: Mapping[str, Any] | None) -> None:
    """Raise :class:`UserError`, which names the model, if one of them does not take ``options`` of a question."""
    for name, model in models.items():
        try:
            model.decoder.check_options(options)
        except ValueError as error:
            raise UserError(f"{name}: {error}") from None


class Protocol:
    """Scores models on a test set: yields the examples, chooses the metrics and the trivial methods.

    A subclass writes :meth:`count` and :meth:`examples`, and sets :attr:`trivial_answers`; :meth:`score` and
    :meth:`answer` have defaults for pictures. Its constructor's arguments are its options: they come from a spec
    (``{"name": "inpainting", "size": 128}``), so JSON must hold them, and are checked against their annotations. Random
    numbers depend on the options and a picture's place in the test set alone, so every model gets the same examples.

    Attributes:
        trivial_answers: methods without training, by the name of their row; the first is every table's first row.
        usual: the default metrics.
        spec: its spec, if it was built by name.
        team: the processes that share the pictures; None: this one alone.
        failures: what could not be scored while :meth:`compare` runs, picture -> why; None outside it.

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
    trivial_answers: Mapping[str, ModelMethod] = MappingProxyType({})
    spec: Any = None
    team: Team | None = None
    failures: dict[str, BaseException] | None = None

    def __repr__(self) -> str:
        return with_settings(self)

    @property
    def trivial(self) -> str:
        """The name of the first row of every table."""
        return next(iter(self.trivial_answers), "")

    @property
    def trivial_rows(self) -> list[str]:
        """The names of all rows without training, in order."""
        return list(self.trivial_answers) or [self.trivial]

    def count(self, data: Path) -> int:
        """The number of examples.

        Raises:
            DataError: ``data`` is not a test set for this protocol.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement count()")

    def examples(self, data: Path) -> Iterator[Example]:
        """Yield the examples of the test set, always the same. Read each picture inside :meth:`picture`, so that one
        that cannot be read does not end the evaluation.

        Raises:
            DataError: ``data`` is not a test set for this protocol.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement examples()")

    @contextmanager
    def picture(self, name: str) -> Iterator[None]:
        """A context for reading, degrading and scoring one picture: while :meth:`compare` runs, an error in it is
        noted, and the evaluation goes on with the next; elsewhere it is raised.
        """
        try:
            yield
        except BaseException as error:  # a plugin may raise what is no Exception
            if self.failures is None or isinstance(error, (KeyboardInterrupt, GeneratorExit)):  # Ctrl-C; a closed loop
                raise
            self.failures.setdefault(name, error)

    def answer(self, model: ImplicitModel, data: Path, encode: Mapping[str, Any]) -> ModelMethod:
        """The model as a method on the examples of ``data``: encode the picture (with the mask, if it takes one) and
        render it at the truth's size. ``encode`` holds arguments of :meth:`ImplicitModel.encode`.
        """

        def render(example: Example) -> Tensor:
            mask = example.mask if model.takes_mask else None
            return model.encode(example.image, mask, **encode).render(example.size)

        return render

    def metrics(self, metrics: Metrics | None) -> list[Metric]:
        """The metrics to measure (None: :attr:`usual`)."""
        return create_metrics(self.usual if metrics is None else metrics)

    def new_scores(self, data: Path, metrics: Sequence[Metric]) -> Scores:
        """An empty table for the metrics, with a unit for each name that :meth:`score` returns."""
        return Scores(units={metric.name: metric.unit for metric in metrics})

    def score(self, prediction: Any, example: Example, metrics: Sequence[Metric]) -> Mapping[str, Any]:
        """The metrics of one prediction, which is clamped to [0, 1], not rounded."""
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
            models: name -> model; :meth:`admit` checks all of them first.
            data: the folder of the test set.
            metrics: the metrics (default: :attr:`usual`).
            encode: arguments of :meth:`ImplicitModel.encode`: ``tile``, ``precision``, ``options``.
            progress: see :data:`Progress`.
            seen: see :data:`Seen`; gets pictures and times.
            trivial: score the trivial methods too.

        Returns:
            Scores of the trivial methods, then of the models in order. A picture that cannot be read, or that a method
            fails on, is scored for none of them; ``failed`` says which and why.

        Raises:
            DataError: ``data`` is not a test set for this protocol, or all of its pictures fail.
            UserError: a model cannot be scored by it, or does not know an option.
        """
        self.admit(models)
        check_options(models, (encode or {}).get("options"))
        methods = dict(self.trivial_answers) if trivial else {}
        methods |= {name: self.answer(model, data, encode or {}) for name, model in models.items()}
        return self.compare(methods, data, metrics=metrics, progress=progress, seen=seen)

    def compare(
        self,
        methods: Mapping[str, ModelMethod],
        data: Path,
        *,
        metrics: Metrics | None = None,
        progress: Progress | None = None,
        seen: Seen | None = None,
    ) -> Scores:
        """Score any methods, name -> :data:`ModelMethod`; other arguments as in :meth:`evaluate`."""
        measures = self.metrics(metrics)
        scores = self.new_scores(data, measures)
        places: dict[str, int] = {}
        first, step = self.share(scores)
        self.failures = {}
        try:
            for done, example in enumerate(self.examples(data), start=1):
                place = places.setdefault(example.name, len(places))
                if place % step == first:
                    with self.picture(example.name):
                        try:
                            self._score_example(example, methods, measures, scores, seen)
                        except GeneratorExit as ending:  # of a plugin: no loop is closed here
                            raise RuntimeError(describe(ending)) from ending
                if progress:
                    progress(done, f"{example.name}, {setting_name(example.setting)}")
            failures = self.failures
        finally:
            self.failures = None
        for name, error in failures.items():
            scores.drop(name)
            plain = isinstance(error, UserError | OSError | ValueError)
            scores.failed[name] = explain_fault(error, plugins) or (first_line if plain else describe)(error)
        if self.team is not None and self.team.count > 1:
            scores = merged(self.team.gather(scores), list(places))
        if scores.failed and not any(scores.items()):
            raise next(iter(failures.values()), DataError(next(iter(scores.failed.values()))))
        return scores

    def share(self, scores: Scores) -> tuple[int, int]:
        """Which pictures this process scores: the first one's place, and the step to the next. Scores that are not of
        pictures, such as those of classes, are the first process's alone.
        """
        if self.team is None or self.team.count == 1:
            return 0, 1
        if scores.item != "picture" or type(scores) is not Scores:
            return (0, 1) if self.team.rank == 0 else (1, 1)
        return self.team.rank, self.team.count

    def _score_example(
        self,
        example: Example,
        methods: Mapping[str, ModelMethod],
        measures: Sequence[Metric],
        scores: Scores,
        seen: Seen | None,
    ) -> None:
        """Add the scores of all methods on one example; of none if one fails."""
        answers = {}
        for method, answer in methods.items():
            start = time.perf_counter()
            prediction = answer(example)
            if isinstance(prediction, Tensor):
                prediction = prediction.cpu()  # waits for the device
            seconds = time.perf_counter() - start
            answers[method] = (prediction, seconds, self.score(prediction, example, measures))
        if example.record is not None:
            scores.records.setdefault(example.setting, {})[example.name] = dict(example.record)
        for method, (prediction, seconds, values) in answers.items():
            for metric, value in values.items():
                scores.add(method, example.setting, metric, example.name, value)
            if seen:
                seen(method, example, prediction, seconds)

    def tables(self, scores: Scores) -> dict[str, list[str]]:
        """The tables of ``scores``: title -> names of metrics (default: one table without a title)."""
        return {"": list(scores.units)}

    def settings(self) -> dict[str, Any]:
        """The options for a JSON report, defaults included."""
        return {} if self.spec is None else {key: value for key, value in self.spec.items() if key != "name"}

    def check(self, model: ImplicitModel, name: str = "the model") -> None:
        """Raise :class:`UserError` with ``name`` if this protocol cannot score ``model`` (default: if it does not
        map RGB pictures to RGB pictures).
        """
        if model.encoder.in_channels != 3 or model.decoder.out_channels != 3 or model.decoder.output != "picture":
            raise UserError(f"{name} does not map RGB pictures to RGB pictures, so it cannot be scored")

    def admit(self, models: Mapping[str, ImplicitModel]) -> None:
        """Check all models and their names.

        Raises:
            UserError: a model cannot be scored, or has the name of a trivial method.
        """
        for name, model in models.items():
            if name in self.trivial_rows:
                raise UserError(f"{name!r} is the row of a method that needs no training; rename the model")
            self.check(model, name)

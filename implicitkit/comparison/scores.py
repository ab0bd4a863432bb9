"""The scores of each run, with its costs and pictures, kept in files beside its weights."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from implicitkit.comparison.plan import Source
from implicitkit.config import naming
from implicitkit.config.comparison import Evaluation
from implicitkit.create import create_protocol, load_model
from implicitkit.errors import UserError
from implicitkit.evaluation.defaults import default_protocol
from implicitkit.evaluation.protocol import Protocol
from implicitkit.evaluation.scores import create_available
from implicitkit.evaluation.timing import Watch
from implicitkit.files import digest, read_kept, write_kept
from implicitkit.metrics import Metric
from implicitkit.nested import texts_in
from implicitkit.version import __version__
from implicitkit.weights.native import fingerprint

FORMAT = 3
Progress = Callable[[str, int], AbstractContextManager[Callable[[int, str], Any]]]
"""Given a title and a number of examples, a context whose value is told of each."""


def protocol_spec(evaluation: Evaluation, degradation: Any) -> dict[str, Any]:
    """What ``create_protocol`` takes, ``degradation`` being the one that is trained on."""
    named = default_protocol(degradation) if evaluation.protocol is None else {"name": evaluation.protocol}
    return {**named, **(evaluation.model_extra or {})}


@dataclass
class Scored:
    """What an evaluation gave.

    Attributes:
        scores: ``[row][setting][metric][picture]``; one row for a run, several for the methods that need no training.
        costs: row -> :class:`~implicitkit.evaluation.timing.Costs`, as a dictionary.
        units: of each metric.
        tables: title -> metrics, as the protocol lays them out.
        settings: the protocol's own record of its options.
        pictures: whether pictures are kept.
        failed: pictures that could not be scored, and why.
    """

    scores: dict[str, dict[str, dict[str, dict[str, float]]]]
    costs: dict[str, dict[str, Any]]
    units: dict[str, str]
    tables: dict[str, list[str]]
    settings: dict[str, Any]
    pictures: bool
    failed: dict[str, str] = field(default_factory=dict)


class Scorer:
    """Scores runs by one evaluation.

    Attributes:
        protocol: asks, and measures.
        metrics: that are measured; None for the protocol's own.
        count: of examples.
        remarks: what a reader should know: metrics that were left out.
    """

    def __init__(
        self, label: str, evaluation: Evaluation, degradation: Any, device: torch.device, progress: Progress | None
    ) -> None:
        self.label, self.device, self.progress = label, device, progress
        self.spec, self.data = protocol_spec(evaluation, degradation), Path(evaluation.data)
        with naming(f"evaluation.{label}"):
            self.protocol: Protocol = create_protocol(self.spec)
        self.metrics: list[Metric] | None = None
        self.remarks: list[str] = []
        if evaluation.metrics is not None:
            self.metrics, left_out = create_available(evaluation.metrics)
            self.remarks = [f"{label}: left out {name}: {why}" for name, why in left_out.items()]
            if not self.metrics:
                raise UserError(f"evaluation.{label}: none of its metrics can be had; {self.remarks[-1]}")
        self.count = self.protocol.count(self.data)

    @property
    def lower_is_better(self) -> set[str]:
        """The metrics of which less is better."""
        return {m.name for m in self.metrics or self.protocol.metrics(None) if not m.higher_is_better}

    @cached_property
    def key(self) -> dict[str, Any]:
        """What the scores depend on besides the weights; pictures and masks by their content."""
        folders = {text: digest(text) for text in texts_in(self.spec) if Path(text).is_dir()}
        metrics = None if self.metrics is None else [metric.spec for metric in self.metrics]
        content = {"protocol": self.spec, "metrics": metrics, "data": digest(self.data), "folders": folders}
        return {"format": FORMAT, "version": __version__, "device": self.device.type, **content}

    def pictures(self, folder: Path) -> Path:
        """The file that pictures are kept in."""
        return folder / f"pictures-{self.label}.npz"

    def __call__(self, label: str, source: Source, keep: bool = True) -> Scored:
        """The scores of the row ``label``: those that are kept, if they are of the same weights, protocol and test
        pictures, or new ones; ``keep`` says whether pictures are kept as well.
        """
        (file, key), pictures = self.place(label, source), self.pictures(source.folder)
        stored = read_kept(file, key)
        scored = None if stored is None else Scored(**stored)
        if scored is None or (keep and not (scored.pictures and pictures.is_file())):
            source.folder.mkdir(parents=True, exist_ok=True)
            scored = self._score(label, source, pictures if keep else None)
            write_kept(file, key, asdict(scored))
        return scored

    def place(self, label: str, source: Source) -> tuple[Path, dict[str, Any]]:
        """The file of the scores, and what they depend on."""
        key = {**self.key, "label": label, "weights": self._digest(source), "passes": source.passes}
        own = {"options": dict(source.options)} if source.options else {}
        return source.folder / f"scores-{self.label}.json", key | own

    def _digest(self, source: Source) -> str:
        """What tells weights apart: a file's content, or the values of a pretrained model."""
        if source.weights is None:
            return ", ".join(self.protocol.trivial_rows)
        return digest(source.weights) if Path(source.weights).is_file() else fingerprint(load_model(source.weights))

    def _score(self, label: str, source: Source, pictures: Path | None) -> Scored:
        encode = {"options": source.options} if source.options else {}
        models, answers = {}, dict.fromkeys(self.protocol.trivial_rows)
        if source.weights is not None:
            model = load_model(source.weights).to(self.device)
            model.passes = source.passes or model.passes
            models, answers = {label: model}, {label: self.protocol.answer(model, self.data, encode)}
        watch, options = Watch(), dict[str, Any](metrics=self.metrics)
        if type(self.protocol).evaluate is Protocol.evaluate:  # a plugin's own may not know them
            options |= {"seen": watch, "trivial": not models}
        if encode:
            options["encode"] = encode
        with self.progress(f"scoring {label}", self.count) if self.progress else nullcontext() as tell:
            scores = self.protocol.evaluate(models, self.data, progress=tell, **options)
        if pictures is not None:
            watch.write(pictures)
        costs = {row: watch.costs(row, models.get(row), answer) for row, answer in answers.items()}
        return Scored(
            {row: scores.values[row] for row in costs},
            {row: asdict(cost) for row, cost in costs.items()},
            scores.units,
            self.protocol.tables(scores),
            self.protocol.settings(),
            pictures is not None,
            scores.failed,
        )

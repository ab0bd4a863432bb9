"""The scores of each trained run, kept in a file beside its weights, so that a report is written again at once."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from implicitkit.comparison.config import MetricSpecs
from implicitkit.comparison.costs import macs, parameters
from implicitkit.comparison.observer import KEPT, Kept, Observer, Shown
from implicitkit.config import naming
from implicitkit.create import create_metric, create_protocol, load_model
from implicitkit.errors import UserError, WeightsError
from implicitkit.evaluation.scores import Scores
from implicitkit.files import replacing, write_text
from implicitkit.metrics import Metric
from implicitkit.version import __version__
from implicitkit.weights.native import fingerprint

MODEL = "the model"
FORMAT = 1

PerPicture = dict[str, dict[str, dict[str, float]]]
"""``[setting][metric][picture]``."""


@dataclass
class Scored:
    """What one evaluation of one run gave.

    Attributes:
        scores: the run's.
        trivial: those of the protocol's trivial method, and its name.
        units: of each metric.
        tables: title -> metrics, as the protocol lays them out.
        settings: the protocol's own record of its options.
        costs: parameters ``total`` and ``trainable``, ``macs`` and ``seconds`` per picture, ``input`` and ``output``
            sizes.
        weights: SHA-256.
        file: where the pictures are kept, if they are.
    """

    scores: PerPicture
    trivial: tuple[str, PerPicture]
    units: dict[str, str]
    tables: dict[str, list[str]]
    settings: dict[str, Any]
    costs: dict[str, Any]
    weights: str
    file: Path | None = None


@dataclass
class Scorer:
    """Scores runs by one evaluation.

    Attributes:
        label: of the evaluation.
        spec: the protocol's.
        folder: the test set.
        wanted: metrics; None for the protocol's own.
        device: where models run.
        notes: what a reader should know, such as a metric that was left out.
    """

    label: str
    spec: dict[str, Any]
    folder: str
    wanted: MetricSpecs | None
    device: torch.device
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        with naming(f"evaluation.{self.label}"):
            self.protocol = create_protocol(self.spec)
        self.data = Path(self.folder)
        self.metrics: list[Metric] | None = None
        if self.wanted is not None:
            self.metrics = []
            for spec in self.wanted:
                try:
                    self.metrics.append(create_metric(spec))
                except WeightsError as error:  # what cannot be had is said, not a reason to measure nothing
                    self.notes.append(f"{self.label}: left out {_name_of(spec)}: {error}")
            if not self.metrics:
                raise UserError(f"evaluation.{self.label}: none of its metrics can be had; {self.notes[-1]}")

    def __call__(
        self, source: Path | str, folder: Path, *, keep: bool, progress: Callable[[int, str], Any] | None = None
    ) -> Scored:
        """The scores of the weights ``source``: those kept in ``folder``, if they are of the same weights, protocol and
        test set, or new ones.

        Args:
            source: a weight file or the name of a pretrained model.
            folder: where the scores are kept.
            keep: whether pictures are kept as well.
            progress: see :class:`~implicitkit.evaluation.protocol.Protocol`.
        """
        weights = _sha256(Path(source)) if Path(source).is_file() else fingerprint(load_model(source))
        stored, pictures = folder / f"scores-{self.label}.json", folder / f"pictures-{self.label}.npz"
        key = {"format": FORMAT, "version": __version__, "weights": weights, **self.key(), "device": self.device.type}
        found = _read(stored, key)
        keep = keep and self.metrics is not None
        if found is None or (keep and not found["has_pictures"]):
            found = self._score(source, keep, pictures, progress)
            write_text(stored, json.dumps({"key": key, **found}, ensure_ascii=False))
        return Scored(
            found["scores"],
            (found["trivial"], found["trivial_scores"]),
            found["units"],
            found["tables"],
            found["settings"],
            found["costs"],
            weights,
            pictures if found["has_pictures"] else None,
        )

    def key(self) -> dict[str, Any]:
        """What the scores depend on besides the weights."""
        metrics = None if self.metrics is None else [metric.spec for metric in self.metrics]
        folders = {text: _contents(Path(text)) for text in _texts(self.spec) if Path(text).is_dir()}
        return {
            "protocol": self.spec,
            "metrics": metrics,
            "data": _contents(self.data),
            "folders": folders,
        }

    def _score(
        self, source: Path | str, keep: bool, pictures: Path, progress: Callable[[int, str], Any] | None
    ) -> dict[str, Any]:
        model = load_model(source).to(self.device)
        observer = Observer(model, keep)
        metrics: list[Metric] | None = None if self.metrics is None else [*self.metrics, Kept(observer)]
        with observer.watching():
            scores = self.protocol.evaluate({MODEL: model}, self.data, metrics=metrics, progress=progress)
        kept = _take_out(scores)
        if keep:
            _write_pictures(pictures, kept, observer.shown)
        return {
            "trivial": self.protocol.trivial,
            "trivial_scores": scores.values[self.protocol.trivial],
            "scores": scores.values[MODEL],
            "units": scores.units,
            "tables": self.protocol.tables(scores),
            "settings": self.protocol.settings(),
            "costs": {**parameters(model), **_cost_of(observer)},
            "has_pictures": keep,
        }


def _cost_of(observer: Observer) -> dict[str, Any]:
    first = observer.first
    if first is None or first.size is None:
        return {"macs": None, "seconds": None, "input": None, "output": None}
    return {
        "macs": macs(observer.model, first.image, first.mask, first.size),
        "seconds": statistics.median(observer.seconds),
        "input": list(first.image.shape[-2:]),
        "output": list(first.size),
    }


def _take_out(scores: Scores) -> PerPicture:
    """Separate the numbers of the kept pictures from the scores."""
    scores.units.pop(KEPT, None)
    numbers = {
        method: {setting: {KEPT: metrics.pop(KEPT, {})} for setting, metrics in settings.items()}
        for method, settings in scores.values.items()
    }
    return numbers[MODEL]


def _write_pictures(file: Path, kept: PerPicture, shown: Sequence[Shown]) -> None:
    arrays: dict[str, Any] = {}
    for setting, metrics in kept.items():
        for picture, number in metrics[KEPT].items():
            one, name = shown[int(number)], f"{setting}|{picture}|"
            arrays[name + "seen"], arrays[name + "full"] = one.seen, np.array(one.full)
            arrays[name + "prediction"], arrays[name + "truth"] = one.prediction, one.truth
    with replacing(file) as temporary:
        np.savez_compressed(temporary, **arrays)


def _read(file: Path, key: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    fresh = json.loads(json.dumps(key))
    return found if isinstance(found, dict) and found.get("key") == fresh else None


def _contents(folder: Path) -> str:
    """A digest of what is in a folder: names and sizes."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder} to evaluate on")
    listed = sorted(f"{p.relative_to(folder).as_posix()} {p.stat().st_size}" for p in folder.rglob("*") if p.is_file())
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    return [value] if isinstance(value, str) and value else []


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _name_of(spec: str | Mapping[str, Any]) -> str:
    return spec if isinstance(spec, str) else str(spec.get("name"))

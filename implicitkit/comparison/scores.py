"""The scores of each run, with its costs and pictures, kept in files beside its weights."""

from __future__ import annotations

import hashlib
import inspect
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from implicitkit.comparison.config import MetricSpecs
from implicitkit.config import naming
from implicitkit.create import create_metric, create_protocol, load_model
from implicitkit.errors import UserError, WeightsError
from implicitkit.evaluation.protocol import Example
from implicitkit.files import replacing, write_text
from implicitkit.images.io import Pixels, to_pixels
from implicitkit.metrics import Metric
from implicitkit.model import ImplicitModel
from implicitkit.version import __version__
from implicitkit.weights.native import fingerprint

MODEL = "the model"
FORMAT = 2
MAX_PICTURE_BYTES = 128 << 20  # that are kept of one run

PerPicture = dict[str, dict[str, dict[str, float]]]
"""``[setting][metric][picture]``."""
Progress = Callable[[str, int], AbstractContextManager[Callable[[int, str], Any]]]


@dataclass
class Scored:
    """What one evaluation of one run gave.

    Attributes:
        scores: row -> scores; one row for a run, several for the methods that need no training.
        units: of each metric.
        tables: title -> metrics, as the protocol lays them out.
        settings: the protocol's own record of its options.
        costs: row -> parameters ``total`` and ``trainable`` (of a model), ``macs`` and ``seconds`` per picture,
            ``input`` and ``output`` sizes.
        pictures: the file that pictures are kept in, if they are.
    """

    scores: dict[str, PerPicture]
    units: dict[str, str]
    tables: dict[str, list[str]]
    settings: dict[str, Any]
    costs: dict[str, dict[str, Any]]
    pictures: str | None


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
        self.metrics: list[Metric] | None = None if self.wanted is None else []
        for spec in self.wanted or []:
            try:
                self.metrics = [*(self.metrics or []), create_metric(spec)]
            except WeightsError as error:  # what cannot be had is said, not a reason to measure nothing
                name = spec if isinstance(spec, str) else spec.get("name")
                self.notes.append(f"{self.label}: left out {name}: {error}")
        if self.metrics == []:
            raise UserError(f"evaluation.{self.label}: none of its metrics can be had; {self.notes[-1]}")

    def __call__(
        self,
        source: Path | str | None,
        folder: Path,
        *,
        keep: bool = True,
        progress: Callable[[int, str], Any] | None = None,
    ) -> Scored:
        """The scores of one model, or of the methods that need no training: those kept in ``folder`` if they are of the
        same weights, protocol and test pictures, or new ones.

        Args:
            source: a weight file or the name of a pretrained model; None for the methods that need no training.
            folder: where the scores are kept.
            keep: whether pictures are kept as well.
            progress: see :class:`~implicitkit.evaluation.protocol.Protocol`.
        """
        stored, pictures = folder / f"scores-{self.label}.json", folder / f"pictures-{self.label}.npz"
        if source is None:
            weights = ", ".join(self.protocol.trivial_rows)
        else:
            weights = _sha256(Path(source)) if Path(source).is_file() else fingerprint(load_model(source))
        key = {"format": FORMAT, "version": __version__, "weights": weights, **self.key, "device": self.device.type}
        scored = _read(stored, key)
        if scored is None or (keep and (scored.pictures is None or not pictures.is_file())):
            scored = self._score(source, pictures if keep else None, progress)
            write_text(stored, json.dumps({"key": key, **asdict(scored)}, ensure_ascii=False))
        return scored

    @property
    def lower_is_better(self) -> set[str]:
        """The metrics of which less is better."""
        return {m.name for m in self.metrics or self.protocol.metrics(None) if not m.higher_is_better}

    @cached_property
    def key(self) -> dict[str, Any]:
        """What the scores depend on besides the weights; pictures and masks by their content."""
        folders = {text: digest(Path(text)) for text in _texts(self.spec) if Path(text).is_dir()}
        metrics = None if self.metrics is None else [metric.spec for metric in self.metrics]
        return {"protocol": self.spec, "metrics": metrics, "data": digest(self.data), "folders": folders}

    def _score(self, source: Path | str | None, file: Path | None, progress: Any) -> Scored:
        models = {} if source is None else {MODEL: load_model(source).to(self.device)}
        rows = list(models) or self.protocol.trivial_rows
        watch = Watch()
        options: dict[str, Any] = {"metrics": self.metrics, "progress": progress}
        if "seen" in inspect.signature(self.protocol.evaluate).parameters:  # not of a plugin's own evaluate
            options |= {"seen": watch, "trivial": not models}
        scores = self.protocol.evaluate(models, self.data, **options)
        if file is not None:
            watch.write(file)
        costs = {row: watch.costs(row) for row in rows}
        for row, model in models.items():
            costs[row] |= parameters(model)
            if row in watch.first:
                answer = self.protocol.answer(model, self.data, {})
                costs[row]["macs"] = macs(partial(answer, watch.first[row]))
        tables = self.protocol.tables(scores)
        values = {row: scores.values[row] for row in rows}
        name = None if file is None else str(file.name)
        return Scored(values, scores.units, tables, self.protocol.settings(), costs, name)


@dataclass
class Watch:
    """What is kept of an evaluation besides its scores: pictures in 8 bits, and times.

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
            place = f"{example.setting}|{example.name}"
            named = {"input": example.image, "truth": example.truth, f"row {method}": prediction}
            for name, picture in named.items():
                self._pictures[f"{place}|{name}"] = to_pixels(picture.float().cpu().clamp(0, 1))

    def costs(self, method: str) -> dict[str, Any]:
        """The median seconds per picture, and the sizes."""
        if method not in self.first:
            return {"macs": None, "seconds": None, "input": None, "output": None}
        example, seconds = self.first[method], statistics.median(self._seconds[method])
        sizes = {"input": list(example.image.shape[-2:]), "output": list(example.size)}
        return {"macs": None, "seconds": seconds, **sizes}

    def write(self, file: Path) -> None:
        """Write the pictures, for :func:`read_pictures`."""
        arrays: Any = self._pictures
        with replacing(file) as temporary:
            np.savez_compressed(temporary, **arrays)


def read_pictures(file: Path, setting: str, picture: str) -> dict[str, Pixels]:
    """What is kept of one picture: ``input``, ``truth`` and, for each method, ``row METHOD``; ``(H, W, 3)`` uint8."""
    with np.load(file) as stored:
        prefix = f"{setting}|{picture}|"
        return {name.removeprefix(prefix): stored[name] for name in stored.files if name.startswith(prefix)}


def parameters(model: ImplicitModel) -> dict[str, int]:
    """How many numbers the model holds in all, and how many of them training may change."""
    counted = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return {"total": sum(n for n, _ in counted), "trainable": sum(n for n, free in counted if free)}


@torch.no_grad()
def macs(work: Callable[[], Any]) -> int:
    """Multiply-accumulates of ``work()``: those of convolutions and matrix products, as they are run; what is done
    value by value is not counted.

    Example:
        >>> layer = torch.nn.Linear(3, 4)
        >>> macs(lambda: layer(torch.zeros(2, 3)))
        24
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # fused attention is not counted
        work()
    return int(counter.get_total_flops()) // 2


def digest(folder: Path) -> str:
    """A digest of a folder's files, names and content.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder} to evaluate on")
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    lines = (f"{file.relative_to(folder).as_posix()} {_sha256(file)}" for file in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _read(file: Path, key: Mapping[str, Any]) -> Scored | None:
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        matches = stored.pop("key") == json.loads(json.dumps(key))
        return Scored(**stored) if matches else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _texts(value: Any) -> Sequence[str]:
    if isinstance(value, Mapping):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    return [value] if isinstance(value, str) and value else []

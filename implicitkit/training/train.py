"""Training as a library: one call, and what it has made."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from implicitkit.config import TrainConfig, as_training, load_training, set_entry, with_base
from implicitkit.create import load_model
from implicitkit.datasets.base import as_dataset
from implicitkit.errors import ConfigError
from implicitkit.model import ImplicitModel
from implicitkit.training.assembly import GIVEN_DATA
from implicitkit.training.callbacks import Followers
from implicitkit.training.curves import Curve, read_curve
from implicitkit.training.loop import train as run_training


@dataclass(frozen=True)
class TrainingResult:
    """A run that has ended.

    Attributes:
        config: the whole run.
        history: the lines of ``log.jsonl``: dicts with ``event`` (``start``, ``train``, ``validation``, ``callback``,
            ``end``) and ``step``.

    >>> import tempfile, implicitkit as ik
    >>> from implicitkit.files import ASSETS
    >>> tiny = {
    ...     "model": {"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": "nearest"},
    ...     "data": {"folders": [ASSETS], "patch": 8, "points": 16},
    ...     "degradation": "super_resolution", "steps": 1, "batch": 1,
    ... }
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = ik.train(tiny, output=f"{folder}/run", show=False)
    ...     result.steps, result.last.name
    (1, 'last.safetensors')
    """

    config: TrainConfig
    history: list[dict[str, Any]] = field(repr=False)

    @property
    def folder(self) -> Path:
        """The run directory."""
        return self.config.output

    @property
    def last(self) -> Path:
        """The weights of the last step."""
        return self.folder / "last.safetensors"

    @property
    def best(self) -> Path:
        """The best weights by validation; the last where nothing is validated."""
        best = self.folder / "best.safetensors"
        return best if best.is_file() else self.last

    @property
    def steps(self) -> int:
        """Steps that are done: fewer than configured if a callback stopped the run."""
        return max((int(entry["step"]) for entry in self.history), default=0)

    @property
    def scores(self) -> dict[str, float]:
        """The means of the last validation, by metric and by metric and task; empty where nothing is validated."""
        entries = [entry for entry in self.history if entry["event"] == "validation"]
        left_out = ("event", "step", "time")
        return {key: value for key, value in entries[-1].items() if key not in left_out} if entries else {}

    @property
    def curve(self) -> Curve:
        """Loss and validations against steps and seconds."""
        return read_curve(self.folder, self.config.batch)

    def load(self, which: str = "best") -> ImplicitModel:
        """The trained model: ``"best"`` or ``"last"``."""
        if which not in ("best", "last"):
            raise ValueError(f"which is 'best' or 'last'; received {which!r}")
        return load_model(self.best if which == "best" else self.last)

    def __repr__(self) -> str:
        scores = "".join(f", {name} {value:.4g}" for name, value in self.scores.items() if "_" not in name)
        return f"TrainingResult({self.folder}, {self.steps} steps{scores})"


def train(
    config: TrainConfig | Mapping[str, Any] | str | Path,
    *,
    settings: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
    resume: bool = False,
    callbacks: Followers = (),
    dataset: Any = None,
    device: str = "auto",
    report: Callable[[dict[str, Any]], Any] | None = None,
    show: bool = True,
) -> TrainingResult:
    """Train a model, as ``implicitkit train`` does.

    Args:
        config: a YAML file, the name of a shipped one, a mapping of the same entries, or a ``TrainConfig``.
        settings: entries to replace, by dotted path: ``{"optimiser.lr": 1e-4}``.
        output: the run directory, in place of the configured one.
        resume: continue the run in the run directory; otherwise it must not exist.
        callbacks: a :class:`implicitkit.Callback`, or the name or spec of a registered one, or several; beside the
            configured ones.
        dataset: the pictures, in place of ``data.folders``: an :class:`implicitkit.Dataset`, a list of files, or
            anything with a length and items that are pictures, as a ``torch.utils.data.Dataset`` has.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        report: called with each line of the log, a dict.
        show: whether to print a line for each on stderr.

    Raises:
        UserError: the configuration does not hold, the directory is taken, a picture is unusable, or the loss is not
            finite.

    >>> import tempfile
    >>> from implicitkit.files import ASSETS
    >>> tiny = {
    ...     "model": {"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": "liif"},
    ...     "data": {"folders": [ASSETS], "patch": 8, "points": 16},
    ...     "degradation": "super_resolution", "steps": 2, "batch": 1,
    ... }
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = train(tiny, output=f"{folder}/run", show=False)
    ...     result.steps, result.load().decoder.spec["name"]
    (2, 'liif')
    """
    source = config.model_dump(mode="json") if isinstance(config, TrainConfig) else config
    if isinstance(source, Mapping) or settings or output is not None or dataset is not None:
        entries = _entries(source)
        for path, value in (settings or {}).items():
            set_entry(entries, path.split("."), value, f"settings: {path}")
        if output is not None:
            entries["output"] = str(output)
        if dataset is not None:
            dataset = as_dataset(dataset)
            given = {"name": GIVEN_DATA, "kind": type(dataset).__name__, "pictures": len(dataset)}
            entries["data"] = {**(entries.get("data") or {}), "dataset": given, "folders": []}
        source = entries
    settled = as_training(source)

    def said(entry: dict[str, Any]) -> None:
        if show and (line := line_of(entry, settled.steps)):
            sys.stderr.write(f"{line}\n")
        if report is not None:
            report(entry)

    folder = run_training(settled, resume=resume, report=said, callbacks=callbacks, dataset=dataset, device=device)
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return TrainingResult(settled, [json.loads(line) for line in lines])


def line_of(entry: Mapping[str, Any], steps: int) -> str:
    """A line of the log as one of text; nothing for what only numbers say.

    >>> line_of({"event": "train", "step": 5, "loss": 0.25, "lr": 1e-4, "crops_per_s": 80.0}, 10)
    'step 5 of 10: loss 0.25000, lr 1.0e-04, 80.0 crops/s'
    """
    step = f"step {entry['step']} of {steps}"
    match entry["event"]:
        case "start":
            return (
                f"training {entry['parameters']:,} parameters on {entry['device']} in {entry['precision']}, "
                f"{entry['pictures']} pictures"
            )
        case "train":
            return f"{step}: loss {entry['loss']:.5f}, lr {entry['lr']:.1e}, {entry['crops_per_s']:.1f} crops/s"
        case "validation":
            scores = (f"{key} {value:.4f}" for key, value in entry.items() if key not in ("event", "step", "time"))
            return f"{step}: validation {', '.join(scores)}"
        case "end":
            return f"{step}: ended early, {entry['reason']}"
    return ""


def _entries(source: Any) -> dict[str, Any]:
    """The entries of a configuration, to change."""
    if isinstance(source, Mapping):
        plain = json.loads(json.dumps(dict(source), default=_as_text))
        return with_base(plain, Path(), "config")
    return load_training(source)


def _as_text(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | set):
        return list(value)
    raise ConfigError(f"a configuration holds numbers, texts, lists and mappings; received {type(value).__name__}")

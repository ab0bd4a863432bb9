"""What follows a training: callbacks, called at its start, after each step, log line, validation and checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from implicitkit.config import TrainConfig, naming
from implicitkit.create import create_callback
from implicitkit.errors import ConfigError, UserError, first_line
from implicitkit.printing import with_settings
from implicitkit.registry.registry import fold

if TYPE_CHECKING:
    from implicitkit.model import ImplicitModel
    from implicitkit.training.validation import Validation


@dataclass
class TrainingState:
    """A training, as callbacks see it; what they change in ``model`` and ``optimiser`` holds.

    Attributes:
        config: the whole run.
        model: the model that is trained; during :meth:`Callback.on_validation` with its averaged weights, if there are.
        optimiser: its optimiser.
        device: where it is trained.
        start: the step that it began, or was resumed, at.
        step: steps that are done.
        lr: the learning rate of the last step, before the factors of parts.
        loss: of the last step, on the device: ``float(training.loss)`` waits for it.
        scores: means of the last validation, such as ``{"psnr": 31.2}``.
        lower_is_better: those of ``scores`` that are better when lower.
        is_main_process: whether this process writes; callbacks run in every one, but ``on_log``, ``on_validation`` in
            this one alone.
        stopping: why the training ends early; empty while it goes on.
        writes: what writes a line of the log; :meth:`log` calls it.

    >>> layer = torch.nn.Linear(2, 2)
    >>> training = TrainingState(None, layer, torch.optim.SGD(layer.parameters(), lr=0.1), torch.device("cpu"), step=7)
    >>> training.stop("good enough")
    >>> training.step, training.stopping
    (7, 'good enough')
    """

    config: TrainConfig
    model: ImplicitModel
    optimiser: torch.optim.Optimizer
    device: torch.device
    start: int = 0
    step: int = 0
    lr: float = 0.0
    loss: Tensor = field(default_factory=lambda: torch.zeros(()))
    scores: dict[str, float] = field(default_factory=dict)
    lower_is_better: frozenset[str] = frozenset()
    is_main_process: bool = True
    stopping: str = ""
    writes: Callable[[dict[str, Any]], Any] | None = None

    @property
    def folder(self) -> Path:
        """The run directory."""
        return self.config.output

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return self.config.steps

    def stop(self, reason: str = "a callback stopped it") -> None:
        """End the training after this step, with a checkpoint and ``last.safetensors``."""
        self.stopping = reason

    def log(self, **numbers: float) -> None:
        """Write numbers of your own to ``log.jsonl`` and TensorBoard."""
        if self.is_main_process and self.writes is not None:
            self.writes({"event": "callback", "step": self.step, **{key: float(n) for key, n in numbers.items()}})


class Callback:
    """Follows a training; a subclass writes the methods that it needs.

    Its constructor's arguments are its options in a configuration. One with a memory writes :meth:`state_dict` and
    :meth:`load_state_dict` too: it is then in the checkpoints, and a resumed run goes on as if it had not stopped.
    Random numbers that it draws should come from a generator of its own.

    >>> class Patient(Callback):
    ...     def on_validation(self, training, validation):
    ...         if training.scores["psnr"] > 40:
    ...             training.stop("good enough")
    """

    spec: Any = None

    def __repr__(self) -> str:
        return with_settings(self)

    def on_start(self, training: TrainingState) -> None:
        """Called before the first step; ``training.start`` steps are done."""

    def on_step(self, training: TrainingState) -> None:
        """Called after each step of the optimiser."""

    def on_log(self, training: TrainingState, entry: Mapping[str, Any]) -> None:
        """Called with each line of ``log.jsonl``: for loggers."""

    def on_validation(self, training: TrainingState, validation: Validation) -> None:
        """Called after each validation; ``training.scores`` has its means."""

    def on_checkpoint(self, training: TrainingState, folder: Path) -> None:
        """Called after each checkpoint, with its folder."""

    def on_end(self, training: TrainingState) -> None:
        """Called when ``last.safetensors`` is written; not after an error."""

    def state_dict(self) -> dict[str, Any]:
        """What to store in a checkpoint: tensors and plain values; nothing, by default."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""


class EarlyStopping(Callback):
    """Ends a run whose validation no longer improves.

    Args:
        patience: validations in a row without improvement, after which it ends.
        metric: a metric of the validation (default: ``validation.best``).
        min_delta: how much better counts as better.

    >>> EarlyStopping(patience=3).patience
    3
    """

    def __init__(self, patience: int = 5, metric: str | None = None, min_delta: float = 0.0) -> None:
        if patience < 1 or min_delta < 0:
            raise ValueError(f"patience is at least 1 and min_delta at least 0; received {patience} and {min_delta}")
        self.patience, self.metric, self.min_delta = patience, metric, min_delta
        self.best: float | None = None
        self.waited = 0

    def on_start(self, training: TrainingState) -> None:
        if not (training.config.data.held_out or training.config.validation.folders):
            raise ConfigError("nothing is validated; set data.held_out or validation.folders")
        metrics = training.config.validation.metrics
        known = ["psnr", "psnr_y", "loss", *(str(m if isinstance(m, str) else m.get("name")) for m in metrics)]
        if self.metric is not None and not any(fold(self.metric).startswith(fold(name)) for name in known):
            raise ConfigError(f"metric: {self.metric} is not validated; add it to validation.metrics")
        if self.waited >= self.patience:
            training.stop(self._reason(training))

    def on_validation(self, training: TrainingState, validation: Validation) -> None:
        metric = self._metric(training)
        if metric not in training.scores:
            raise ConfigError(f"metric: {metric} is not validated; it has {', '.join(training.scores)}")
        score = training.scores[metric] * (-1 if metric in training.lower_is_better else 1)
        if self.best is None or score > self.best + self.min_delta:
            self.best, self.waited = score, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            training.stop(self._reason(training))

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.waited = state["best"], int(state["waited"])

    def _metric(self, training: TrainingState) -> str:
        metric = self.metric or training.config.validation.best
        metric = "psnr" if metric == "psnr_y" else metric
        return "loss" if metric == "psnr" and "loss" in training.scores else metric

    def _reason(self, training: TrainingState) -> str:
        return f"{self._metric(training)} has not improved for {self.waited} validations"


Follower = Callback | str | Mapping[str, Any]
Followers = Follower | Sequence[Follower]


def listed(callbacks: Followers) -> list[Follower]:
    """One callback, or a name or spec of one, as a list of it; several as they are.

    >>> listed("early_stopping"), listed([])
    (['early_stopping'], [])
    """
    if isinstance(callbacks, str | Mapping) or not isinstance(callbacks, Sequence):
        return [callbacks]
    return [*callbacks]


class Callbacks:
    """All callbacks of a run, called in order; an error names the one that raised it.

    Args:
        callbacks: as ``ik.train`` takes them: callbacks, or names and specs.
    """

    def __init__(self, callbacks: Followers) -> None:
        self.callbacks: dict[str, Callback] = {}
        for given in listed(callbacks):
            with naming("callbacks"):
                callback = create_callback(given) if isinstance(given, str | Mapping) else given
                if not isinstance(callback, Callback):
                    raise ConfigError(f"a callback is an implicitkit.Callback; received {type(callback).__name__}")
            named = (callback.spec or {}).get("name") or type(callback).__name__
            self.callbacks[named if named not in self.callbacks else f"{named}_{len(self.callbacks) + 1}"] = callback
        self._each_step = self._that_write("on_step")
        self._each_line = self._that_write("on_log")

    def remembering(self) -> dict[str, Callback]:
        """Those that are stored in checkpoints, by name."""
        return self._that_write("state_dict")

    def start(self, training: TrainingState) -> None:
        """Call ``on_start`` of all."""
        self._call(self.callbacks, "on_start", training)

    def step(self, training: TrainingState) -> None:
        """Call ``on_step`` of those that have one."""
        if self._each_step:
            self._call(self._each_step, "on_step", training)

    def log(self, training: TrainingState, entry: Mapping[str, Any]) -> None:
        """Call ``on_log`` of those that have one."""
        self._call(self._each_line, "on_log", training, entry)

    def validation(self, training: TrainingState, validation: Validation) -> None:
        """Call ``on_validation`` of all."""
        training.scores, training.lower_is_better = validation.means, validation.lower_is_better
        self._call(self.callbacks, "on_validation", training, validation)

    def checkpoint(self, training: TrainingState) -> None:
        """Call ``on_checkpoint`` of all."""
        folder = training.folder / "checkpoints" / f"step-{training.step}"
        self._call(self.callbacks, "on_checkpoint", training, folder)

    def end(self, training: TrainingState) -> None:
        """Call ``on_end`` of all."""
        self._call(self.callbacks, "on_end", training)

    def _that_write(self, method: str) -> dict[str, Callback]:
        own = getattr(Callback, method)
        return {name: c for name, c in self.callbacks.items() if getattr(type(c), method) is not own}

    def _call(self, callbacks: Mapping[str, Callback], method: str, *arguments: Any) -> None:
        for name, callback in callbacks.items():
            try:
                getattr(callback, method)(*arguments)
            except UserError as error:
                raise ConfigError(f"callbacks: {name}: {error}") from error
            except Exception as error:
                raise UserError(f"callbacks: {name}.{method}: {type(error).__name__}: {first_line(error)}") from error

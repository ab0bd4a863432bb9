"""Where the numbers of a run go beside ``log.jsonl``: TensorBoard, and W&B and MLflow by accelerate's trackers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from implicitkit.errors import UserError, first_line
from implicitkit.files import write_text
from implicitkit.registry.extras import require

PROJECT = "implicitkit"
RUNS = "loggers.json"
"""The file in a run's folder that holds the names under which others know it, so that a resumed run goes on there."""


def check_loggers(names: Sequence[str]) -> None:
    """Raise :class:`MissingPackageError` if the package of a logger is not installed.

    >>> check_loggers(["tensorboard"])
    """
    for name in names:
        if name != "tensorboard":
            require(name, f"the logger {name}")


class Loggers:
    """The loggers of one run; each is started by the first number or picture.

    Args:
        names: of ``tensorboard``, ``wandb`` and ``mlflow``.
        folder: the run's.
        settings: the run's configuration, for W&B and MLflow.
        start: the steps that are done; TensorBoard forgets what it has of later ones.
    """

    def __init__(self, names: Sequence[str], folder: Path, settings: Mapping[str, Any], start: int = 0) -> None:
        self.names, self.folder, self.settings, self.start = list(names), folder, settings, start
        self._started: dict[str, Any] | None = None

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers of one step."""
        for name, logger in self._loggers().items():
            if name == "tensorboard":
                for key, value in values.items():
                    logger.add_scalar(key, value, step)
            else:
                logger.log(dict(values), step=step)

    def picture(self, title: str, picture: Tensor, step: int) -> None:
        """Log a picture ``(3, H, W)`` in [0, 1]; MLflow takes none through accelerate."""
        for name, logger in self._loggers().items():
            if name == "tensorboard":
                logger.add_image(title, picture, step)
            elif name == "wandb":
                logger.log_images({title: [picture.movedim(0, -1).mul(255).round().byte().cpu().numpy()]}, step=step)

    def close(self) -> None:
        """End what was started."""
        for name, logger in (self._started or {}).items():
            logger.close() if name == "tensorboard" else logger.finish()
        self._started = None

    def _loggers(self) -> dict[str, Any]:
        if self._started is None:
            self._started = {}
            for name in self.names:
                try:
                    self._started[name] = getattr(self, f"_{name}")()
                except Exception as error:  # servers that cannot be reached, keys that are missing
                    raise UserError(f"loggers: {name} cannot start: {first_line(error)}") from error
        return self._started

    def _tensorboard(self) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self.folder), purge_step=self.start + 1)

    def _wandb(self) -> Any:
        from accelerate.tracking import WandBTracker

        known = self._runs().get("wandb")
        again = {"id": known, "resume": "allow"} if known else {}
        tracker = WandBTracker(PROJECT, name=self.folder.name, dir=str(self.folder), **again)
        tracker.start()
        self._remember("wandb", tracker.tracker.id)
        tracker.store_init_configuration(dict(self.settings))
        return tracker

    def _mlflow(self) -> Any:
        from accelerate.tracking import MLflowTracker

        known = self._runs().get("mlflow")
        tracker = MLflowTracker(PROJECT, run_id=known, run_name=self.folder.name)
        tracker.start()
        self._remember("mlflow", tracker.tracker.info.run_id)
        if known is None:  # MLflow's parameters are set once
            tracker.store_init_configuration(flat(self.settings))
        return tracker

    def _runs(self) -> dict[str, str]:
        file = self.folder / RUNS
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}

    def _remember(self, name: str, run: str) -> None:
        write_text(self.folder / RUNS, json.dumps({**self._runs(), name: run}))


def flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested settings with dotted names.

    >>> flat({"data": {"patch": 48}, "steps": 2})
    {'data.patch': 48, 'steps': 2}
    """
    rows: dict[str, Any] = {}
    for key, value in settings.items():
        rows |= flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return rows

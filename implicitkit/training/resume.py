"""What may differ when a run is resumed, and whether a folder holds the same run."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from implicitkit.config import TrainConfig, load_yaml, validate
from implicitkit.errors import ConfigError, UserError
from implicitkit.files import LOCK, is_held, write_text
from implicitkit.nested import flattened

NEUTRAL_KEYS = (
    "output",
    "log_every",
    "checkpoint_every",
    "keep_checkpoints",
    "license",
    "trained_on",
    "data.workers",
    "data.cache",
)
"""Entries that change nothing that a step computes."""
RESUMABLE_KEYS = (
    *NEUTRAL_KEYS,
    "validation",
    "callbacks",
    "loggers",
    "steps",
    "optimiser.lr",
    "optimiser.betas",
    "optimiser.schedule",
    "optimiser.warmup",
    "optimiser.milestones",
    "optimiser.gamma",
    "optimiser.final_lr",
    "optimiser.clip",
)
"""What may differ on resuming. ``steps`` and most of ``optimiser`` are what one changes to go on for longer, or more
gently: the schedule follows them from there on.
"""


def holds_work(folder: Path) -> bool:
    """Whether a run directory holds a checkpoint or weights: what it would take time to make again."""
    return any(folder.glob("*.safetensors")) or any((folder / "checkpoints").glob("step-*"))


def begin_run(config: TrainConfig) -> None:
    """Put ``config.yaml`` into its run directory, for ``train(config, resume=True)`` to begin or to go on; or check
    that the one there is of the same run, in everything that moves a number.

    Raises:
        ConfigError: it is of another run; the message names what differs.
        UserError: the folder holds something else, or cannot be written.
    """
    folder = config.output
    if (folder / "config.yaml").is_file():
        changed = changed_entries(folder / "config.yaml", config, NEUTRAL_KEYS)
        if changed and (holds_work(folder) or is_held(folder / LOCK)):
            what = [f"{key} was {before!r} and is {now!r}" for key, (before, now) in changed.items()]
            raise ConfigError(
                f"the run in {folder} was begun with another configuration: {'; '.join(what[:3])}; choose another "
                "output, or remove the folder to train it again"
            )
    elif any(p.name.endswith(".safetensors") or p.name == "checkpoints" for p in folder.glob("*")):
        raise UserError(f"{folder} holds something else than this run; choose another output")
    if not (folder / "last.safetensors").is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the folder {folder}: {error.strerror or error}") from None
        write_config(config)


def write_config(config: TrainConfig) -> None:
    """Write ``config.yaml`` into the run directory."""
    write_text(config.output / "config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def changed_entries(file: Path, config: TrainConfig, free: Collection[str]) -> dict[str, tuple[Any, Any]]:
    """In what ``config`` differs from the configuration in ``file``, apart from the entries or sections ``free``.

    Returns:
        The entry's dotted path -> what it was, and what it is.
    """
    stored = validate(TrainConfig, load_yaml(file), str(file))
    before, now = (dict(flattened(c.model_dump(mode="json"))) for c in (stored, config))
    changed = {key: (before.get(key), now.get(key)) for key in before | now if before.get(key) != now.get(key)}
    return {key: values for key, values in changed.items() if not any(f"{key}.".startswith(f"{f}.") for f in free)}

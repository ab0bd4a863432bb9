"""A short training run for tests: a small model, three photographs, some steps."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from implicitkit.config import TrainConfig, validate
from implicitkit.training.loop import train
from oracles import PHOTOS

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}


def settings(output: Path, **changes: Any) -> dict[str, Any]:
    """A configuration, with ``changes`` at its top; ``data`` and ``optimiser`` are merged entry by entry."""
    base: dict[str, Any] = {
        "model": {
            "encoder": {"name": "edsr", "blocks": 1, "channels": 8, "res_scale": 1.0},
            "decoder": {"name": "liif", "hidden": [16], "skip": "bilinear"},
        },
        "data": {"folders": [str(PHOTOS)], "patch": 12, "points": 64, "held_out": 1},
        "degradation": {"name": "super_resolution", "scale": [1, 4]},
        "optimiser": {"lr": 1e-3, "schedule": "constant"},
        "validation": {"every": 1000, "scales": [2], "max_size": 48},
        "output": str(output),
        "steps": 8,
        "batch": 4,
        "log_every": 4,
        "checkpoint_every": 4,
    }
    for key in ("data", "optimiser"):
        base[key] |= changes.pop(key, {})
    return {**base, **changes}


def run(settings: dict[str, Any], *, resume: bool = False) -> Path:
    """Train, and return the run directory."""
    return train(validate(TrainConfig, settings, "test"), resume=resume)


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    """What a run has learnt."""
    return load_file(folder / f"{name}.safetensors")


def identical(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether all weights are the same to the bit."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def furthest(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """The largest difference of any two weights."""
    return max(float((a[k] - b[k]).abs().max()) for k in a)


def entries(folder: Path, event: str = "train") -> list[dict[str, Any]]:
    """What a run logged."""
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry for line in lines if (entry := json.loads(line))["event"] == event]

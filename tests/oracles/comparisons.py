"""A comparison that is small enough for tests: two methods, two seeds, squares of the bundled photographs."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from implicitkit.config import validate
from implicitkit.config.comparison import CompareConfig
from oracles import PHOTOS

ENCODER = {"name": "edsr", "blocks": 1, "channels": 4, "res_scale": 1.0}
TINY: dict[str, Any] = {
    "title": "Two tiny methods",
    "seeds": [0, 1],
    "threads": 1,
    "prepare": [
        {"makes": "{output}/pictures", "cut": {"folders": [str(PHOTOS)], "side": 64, "test_every": 20}},
    ],
    "base": {
        "degradation": {"name": "inpainting", "kind": "boxes", "ratio": [0.1, 0.4]},
        "data": {"folders": ["{output}/pictures/train"], "patch": 16, "points": 32, "held_out": 1},
        "optimiser": {"lr": 1e-3, "schedule": "constant"},
        "validation": {"every": 10},
        "steps": 20,
        "batch": 2,
        "log_every": 5,
        "checkpoint_every": 5,
    },
    "methods": {
        "LIIF": {
            "model": {"encoder": ENCODER, "decoder": {"name": "liif", "hidden": [8]}, "inputs": ["image", "mask"]}
        },
        "LTE": {
            "model": {"encoder": ENCODER, "decoder": {"name": "lte", "hidden": [8, 8]}, "inputs": ["image", "mask"]},
            "optimiser": {"lr": 2e-3},
        },
    },
    "reference": ["LIIF"],
    "evaluation": {"protocol": "inpainting", "data": "{output}/pictures/test", "bins": [[20, 40]], "size": 32},
    "output": "compared",
}


def tiny(output: Path, **changes: Any) -> dict[str, Any]:
    """The configuration, with top-level entries replaced."""
    return {**copy.deepcopy(TINY), "output": str(output), **changes}


def checked(settings: dict[str, Any]) -> CompareConfig:
    """What ``implicitkit compare`` makes of it."""
    return validate(CompareConfig, settings, "test.yaml")

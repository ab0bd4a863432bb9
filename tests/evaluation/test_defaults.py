"""The test follows the degradation that is trained on."""

from __future__ import annotations

from typing import Any

import pytest

import implicitkit as ik
from implicitkit.evaluation.defaults import default_protocol

NOISE = {"name": "noise", "sigma": [0, 75]}
BLUR = {"name": "blur", "kind": ["gaussian", "motion"], "sigma": [1, 4], "length": [3, 21]}


@pytest.mark.parametrize(
    ("degradation", "settings"),
    [
        (NOISE, {f"sigma {s}": {"name": "noise", "sigma": float(s)} for s in (25, 50, 75)}),
        ("jpeg", {"jpeg": {"name": "jpeg"}}),
        ({"name": "noise", "sigma": [20, 20]}, {"noise": {"name": "noise", "sigma": [20, 20]}}),
        (
            BLUR,
            {
                level: {**BLUR, "sigma": sigma, "length": length}
                for level, sigma, length in (("mild", 2, 9), ("middling", 3, 15), ("strong", 4, 21))
            },
        ),
        (
            [{"name": "super_resolution", "scale": [1, 4]}, "jpeg"],
            {f"scale {s}": [{"name": "super_resolution", "scale": float(s)}, {"name": "jpeg"}] for s in (2, 3, 4)},
        ),
    ],
)
def test_levels_lie_along_the_ranges(degradation: Any, settings: dict[str, Any]) -> None:
    spec = default_protocol(degradation)
    assert spec == {"name": "restoration", "settings": settings}
    assert ik.create_protocol(spec).settings()["settings"].keys() == settings.keys()


def test_holes_are_scored_by_their_ratio() -> None:
    spec = default_protocol({"name": "inpainting", "kind": "boxes", "ratio": [0.1, 0.5], "fill": "mean"})
    assert spec == {"name": "inpainting", "size": None, "kind": "boxes", "fill": "mean"}
    assert ik.create_protocol(spec).settings()["holes"]["fill"] == "mean"
    assert default_protocol([{"name": "inpainting", "kind": "folder", "folder": "masks"}])["masks"] == "masks"


def test_holes_with_something_else_are_restored() -> None:
    chain = [{"name": "inpainting", "kind": "boxes"}, {"name": "noise", "sigma": 10}]
    assert default_protocol(chain) == {"name": "restoration", "settings": {"inpainting and noise": chain}}

"""The grid: pictures chosen by what a method gains, and what all made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import implicitkit as ik
from implicitkit.evaluation import Example
from implicitkit.evaluation.grid import draw_grid
from implicitkit.evaluation.timing import Watch
from oracles.comparisons import checked, tiny

SCORES = {"grey": {"a": 10.0, "b": 12.0, "c": 11.0}, "LIIF": {"a": 20.0, "b": 20.0, "c": 20.0}}
GAINS = {"a": 5.0, "b": -1.0, "c": 2.0}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """What each row made of three pictures of 8×8 pixels."""
    kept = {}
    for row in ("grey", "LIIF", "LTE"):
        watch = Watch()
        for name in GAINS:
            watch(row, Example("20-40", name, torch.rand(3, 8, 8), None, torch.rand(3, 8, 8)), torch.rand(3, 8, 8), 1.0)
        kept[row] = tmp_path / f"{row}.npz"
        watch.write(kept[row])
    return kept


def evaluation() -> dict[str, Any]:
    scores = {**SCORES, "LTE": {name: SCORES["LIIF"][name] + gain for name, gain in GAINS.items()}}
    return {
        "units": {"psnr": "dB"},
        "trivial_rows": ["grey"],
        "summary": {row: {"20-40": {"psnr": {"mean": sum(s.values()) / 3}}} for row, s in scores.items()},
        "scores": {row: {"0": {"20-40": {"psnr": s}}} for row, s in scores.items()},
    }


def test_pictures_are_the_best_the_median_and_the_worst_gain(tmp_path: Path, files: dict[str, Path]) -> None:
    config = checked(tiny(tmp_path / "out"))
    chosen = draw_grid(config, evaluation(), files, (), tmp_path / "grid.png")
    assert chosen is not None and chosen["rows"] == ["best gain", "median gain", "worst gain"]
    assert [title.partition(":")[0] for title in chosen["titles"]] == ["a", "c", "b"]
    assert "+5.00 dB" in chosen["titles"][0] and "-1.00 dB" in chosen["titles"][2]
    assert (chosen["highlight"], chosen["reference"], chosen["setting"]) == ("LTE", "LIIF", "20-40")
    assert chosen["file"] == "grid.png" and ik.read_image(tmp_path / "grid.png").std() > 0.05


def test_the_reference_itself_is_compared_with_what_needs_no_model(tmp_path: Path, files: dict[str, Path]) -> None:
    config = checked(tiny(tmp_path / "out", pictures={"rows": 1, "highlight": "LIIF"}))
    chosen = draw_grid(config, evaluation(), files, (), tmp_path / "grid.png")
    assert chosen is not None and chosen["reference"] == "grey" and chosen["titles"][0].startswith("c: median gain")


def test_without_pictures_there_is_no_grid_and_a_wrong_setting_is_named(tmp_path: Path, files: dict[str, Path]) -> None:
    gone = {row: tmp_path / "gone" / file.name for row, file in files.items()}
    assert draw_grid(checked(tiny(tmp_path / "out")), evaluation(), gone, (), tmp_path / "grid.png") is None
    assert not (tmp_path / "grid.png").exists()
    config = checked(tiny(tmp_path / "out", pictures={"setting": "0-20"}))
    with pytest.raises(ik.UserError, match=r"pictures.setting: there is no '0-20'"):
        draw_grid(config, evaluation(), files, (), tmp_path / "grid.png")

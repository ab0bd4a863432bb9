"""What is found before the first step; tests/training/test_loop.py has what a whole run finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import implicitkit as ik
from implicitkit.config import TrainConfig, validate
from implicitkit.training.assembly import assemble
from oracles import PHOTOS
from oracles.runs import settings


def assembled(folder: Path, **changes: Any) -> Any:
    return assemble(validate(TrainConfig, settings(folder, **changes), "test"), torch.device("cpu"))


def test_unreadable_pictures_are_refused_or_skipped_and_counted(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        with Image.open(PHOTOS / "coffee.png") as picture:
            picture.resize((120, 90)).save(tmp_path / name)
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:500])  # held out
    (tmp_path / "d.png").write_text("nothing")
    data = {"folders": [str(tmp_path)], "held_out": 1}
    with pytest.raises(ik.ImageError, match=r"[bd]\.png"):
        assembled(tmp_path / "run", data=data)
    parts = assembled(tmp_path / "run", data={**data, "held_out": 2, "unreadable": "skip"})
    names = [Path(name).name for name in (*parts.crops.unreadable, *parts.validator.unreadable)]
    assert sorted(names) == ["b.png", "d.png"]
    assert len(parts.crops.usable) + len(parts.validator.items) == 2


def test_metrics_of_the_validation_and_what_is_best_are_checked(tmp_path: Path) -> None:
    every = {"every": 1, "scales": [2], "max_size": 48}
    parts = assembled(tmp_path / "run", validation={**every, "metrics": ["ssim", "l1"], "best": "l1"})
    validation = parts.validator(parts.model.eval())
    assert list(validation.scores) == ["psnr", "ssim", "l1"] and validation.best == "l1"
    assert validation.lower_is_better == {"l1", "loss"}
    for section, message in (
        ({"best": "ssim"}, "validation.best: 'ssim' is not measured; it is one of psnr; add it to metrics"),
        ({"metrics": ["sim"]}, "validation.metrics: unknown metric 'sim'; did you mean 'ssim'"),
    ):
        with pytest.raises(ik.UserError, match=message):
            assembled(tmp_path / "run", validation={**every, **section})

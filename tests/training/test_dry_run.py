"""What a run would be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

import implicitkit as ik
from implicitkit.config import TrainConfig, validate
from implicitkit.training.dry_run import dry_run
from oracles.runs import settings


def test_it_counts_estimates_and_shows_without_a_run(tmp_path: Path) -> None:
    small = validate(TrainConfig, settings(tmp_path / "run"), "test")
    report = dry_run(small, "cpu")
    assert not (tmp_path / "run").exists()
    with Image.open(report.picture) as picture:
        assert report.picture == tmp_path / "run_first_batch.png" and picture.width > 200
    assert report.parameters == {"encoder": (1976, 1976), "decoder": (1283, 1283)}
    assert report.shapes["image"] == [4, 3, 12, 12] and report.pictures == "2; 1 to validate on"
    assert report.fixed == 4 * (3259 * 4)  # weights, gradients, and Adam's two moments
    larger = dry_run(validate(TrainConfig, settings(tmp_path / "run", batch=8), "test"), "cpu")
    assert larger.activations == 2 * report.activations > 0 and larger.fixed == report.fixed
    assert all(isinstance(row, str) for row in report.rows().values())


def test_the_estimate_is_near_what_is_kept(tmp_path: Path) -> None:
    config = validate(TrainConfig, settings(tmp_path / "run", batch=1), "test")
    report = dry_run(config, "cpu")
    model = ik.create_model(config.model.model_dump())
    sizes: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.nbytes) or t, lambda t: t):
        model(torch.rand(1, 3, 12, 12), torch.rand(1, 64, 2), torch.full((1, 1, 2), 0.1))
    assert 0.2 * sum(sizes) < report.activations < 1.5 * sum(sizes)  # some are kept twice over


def test_it_finds_what_a_run_would(tmp_path: Path) -> None:
    wrong = validate(TrainConfig, settings(tmp_path / "run", optimiser={"parts": {"head": 0.1}}), "test")
    with pytest.raises(ik.ConfigError, match="the model has no part 'head'"):
        dry_run(wrong, "cpu")

"""Configurations that begin with another."""

from __future__ import annotations

from pathlib import Path

import pytest

import implicitkit as ik
from implicitkit.config import TrainConfig, as_training, load_training, validate


def test_a_file_begins_with_another(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "model: {encoder: edsr, decoder: {name: lte, basis: 8}}\ndata: {folders: [x], patch: 8}\n"
        "degradation: blur\nsteps: 5\noutput: run\nbatch: 4\n"
    )
    (tmp_path / "b.yaml").write_text("base: a.yaml\nmodel: {decoder: {name: liif}}\ndata: {points: 9}\nbatch: null\n")
    (tmp_path / "c.yaml").write_text("base: b.yaml\noptimiser: {lr: 0.5}\nsteps: 0\n")
    config = as_training(tmp_path / "b.yaml")
    assert config.model.decoder.as_dict() == {"name": "liif"} and config.model.encoder.name == "edsr"
    assert (config.data.patch, config.data.points, config.batch, config.steps) == (8, 9, 16, 5)
    with pytest.raises(ik.ConfigError, match=r"c\.yaml, line 3: steps: "):
        as_training(tmp_path / "c.yaml")
    (tmp_path / "a.yaml").write_text((tmp_path / "a.yaml").read_text().replace("steps: 5", "steps: 0"))
    with pytest.raises(ik.ConfigError, match=r"b\.yaml, line 4 of .*a\.yaml: steps: "):
        validate(TrainConfig, load_training(tmp_path / "b.yaml"), "b.yaml")


def test_it_may_begin_with_a_shipped_one() -> None:
    assert as_training({"base": "liif_small", "steps": 7}).steps == 7


def test_a_circle_and_a_missing_base_are_errors(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    (tmp_path / "b.yaml").write_text("base: a.yaml\n")
    with pytest.raises(ik.ConfigError, match="leads back to itself"):
        load_training(tmp_path / "a.yaml")
    (tmp_path / "c.yaml").write_text("base: nowhere.yaml\n")
    with pytest.raises(ik.ConfigError, match=r"nowhere\.yaml"):
        load_training(tmp_path / "c.yaml")
    with pytest.raises(ik.ConfigError, match="base: the name of another training configuration; received 5"):
        as_training({"base": 5})


def test_a_comparison_with_a_base_is_no_training(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("model: liif_edsr_baseline\ndegradation: super_resolution\n")
    (tmp_path / "c.yaml").write_text("base: base.yaml\nmethods: {L: {model: liif_edsr_baseline}}\n")
    with pytest.raises(ik.ConfigError, match="c.yaml is a configuration of `implicitkit compare`; run"):
        load_training(tmp_path / "c.yaml")

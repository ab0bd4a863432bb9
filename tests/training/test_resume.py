"""What may differ when a run is resumed."""

from __future__ import annotations

from pathlib import Path

import pytest

import implicitkit as ik
from implicitkit.config import TrainConfig, load_yaml, validate
from implicitkit.training.resume import begin_run
from oracles.runs import settings


def test_a_changed_configuration_is_refused_by_its_key(tmp_path: Path) -> None:
    config = validate(TrainConfig, settings(tmp_path / "run"), "test")
    begin_run(config)
    assert validate(TrainConfig, load_yaml(tmp_path / "run" / "config.yaml"), "stored") == config
    silent = {"log_every": 1, "checkpoint_every": 2, "data": {"workers": 1}}  # these move no number
    begin_run(validate(TrainConfig, settings(tmp_path / "run", **silent), "test"))
    assert load_yaml(tmp_path / "run" / "config.yaml")["log_every"] == 1
    (tmp_path / "run" / "checkpoints" / "step-2").mkdir(parents=True)  # without work, the run begins anew
    for change, message in (
        ({"optimiser": {"lr": 5e-3}}, r"in .*run was begun .* optimiser.lr was 0.001 and is 0.005"),
        ({"steps": 9}, "steps was 8 and is 9"),
    ):
        with pytest.raises(ik.ConfigError, match=message):
            begin_run(validate(TrainConfig, settings(tmp_path / "run", **change), "test"))


def test_a_taken_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.safetensors").write_bytes(b"")
    with pytest.raises(ik.UserError, match="holds something else than this run"):
        begin_run(validate(TrainConfig, settings(tmp_path / "run"), "test"))
    (tmp_path / "file").write_text("")
    with pytest.raises(ik.UserError, match="cannot make the folder"):
        begin_run(validate(TrainConfig, settings(tmp_path / "file" / "run"), "test"))

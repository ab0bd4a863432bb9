"""Sections and parts."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

import implicitkit as ik
from implicitkit.config import TrainConfig, validate
from implicitkit.config.sections import LossSpec, PartSpec, Strict
from implicitkit.create import create_encoder
from implicitkit.errors import ArgumentError, ConfigError


class Folders(Strict):
    folders: list[Path]


def test_home_is_home() -> None:
    assert Folders(folders=["~/a", "b"]).folders == [Path.home() / "a", Path("b")]
    with pytest.raises(ValidationError):
        Folders(folders=[], more=1)


def test_a_name_is_a_part() -> None:
    assert PartSpec.model_validate("edsr").as_dict() == {"name": "edsr"}
    assert LossSpec.model_validate({"name": "l1", "hole_weight": 6}).as_dict() == {
        "name": "l1",
        "weight": 1.0,
        "hole_weight": 6,
    }


@pytest.mark.parametrize("text", ["batch: yes", "seed: on", "steps: true", "optimiser: {lr: no}"])
def test_yes_is_no_number(text: str) -> None:
    """YAML 1.1 reads it as true, and Python counts that as 1."""
    document = yaml.safe_load(text)
    with pytest.raises(ConfigError, match="should be a number, not yes or no"):
        validate(TrainConfig, {**TRAIN, **document}, "a test")
    with pytest.raises(ArgumentError, match=r"encoder 'edsr', channels: should be a number \(received True\)"):
        create_encoder({"name": "edsr", "channels": True})


def test_a_variable_in_a_path_is_refused() -> None:
    """A folder called '$HOME' would be made."""
    for path in ("$HOME/runs", "runs/${NAME}"):
        with pytest.raises(ConfigError, match="output: .*variables such as .HOME are not read in a path; write it out"):
            validate(TrainConfig, {**TRAIN, "output": path}, "a test")
    assert validate(TrainConfig, {**TRAIN, "output": "5$"}, "a test").output.name == "5$"


TRAIN = {
    "model": {"encoder": "edsr", "decoder": "liif"},
    "data": {"folders": ["x"]},
    "degradation": [{"name": "noise"}],
    "output": "out",
    "steps": 1,
}


@pytest.mark.parametrize(
    ("path", "message"),
    [("~nobody_of_this_name/x", "nobody's home folder"), ("s3://bucket/x", "an address is no path")],
)
def test_paths_that_are_none_of_this_machine(path: str, message: str) -> None:
    config = {"model": {"encoder": "edsr", "decoder": "liif"}, "data": {"folders": [path]}, "degradation": "noise"}
    with pytest.raises(ik.ConfigError, match=message):
        validate(TrainConfig, {**config, "output": "out", "steps": 1}, "c.yaml")

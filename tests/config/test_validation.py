"""What is wrong, where."""

from __future__ import annotations

import pytest

import implicitkit as ik
from implicitkit.config import Document, TrainConfig, parse, validate

TEXT = """\
model:
  encoder: {name: edsr, blocks: 2}
  decoder: liif
data:
  folders: [p]
  workers: 100000
degradation: blur
output: run
steps: 1
"""


def problem(text: str) -> str:
    with pytest.raises(ik.ConfigError) as error:
        validate(TrainConfig, Document(*parse(text, "c.yaml")), "c.yaml")
    return str(error.value)


def test_a_mistake_names_the_line() -> None:
    assert problem(TEXT) == "c.yaml, line 6: data.workers: should be a number from 0 to 128 (received 100000)"
    fine = TEXT.replace("100000", "0")
    assert problem(fine.replace("blocks: 2", "blocks: 1000000")).startswith("c.yaml, line 2: model.encoder.blocks: ")
    assert problem(fine.replace("steps: 1", "steps: 0")).startswith("c.yaml, line 9: steps: ")
    assert problem(fine.replace("workers", "wrokers")).startswith("c.yaml, line 6: data.wrokers: unknown key")
    assert problem(fine.replace("output: run\n", "")) == "c.yaml: output: required, but not given"


def test_a_valid_configuration_knows_its_lines_and_is_equal_without() -> None:
    text = TEXT.replace("100000", "0")
    read = validate(TrainConfig, Document(*parse(text, "c.yaml")), "c.yaml")
    assert read.places["data", "workers"] == "line 6"
    assert read == validate(TrainConfig, dict(parse(text, "c.yaml")[0]), "c.yaml")

"""What a comparison reads, and what it refuses."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

import implicitkit as ik
from implicitkit.config import apply_settings
from implicitkit.config.comparison import CompareConfig, Evaluation, load_comparison
from oracles.comparisons import ENCODER, TINY, checked


def broken(path: str, value: Any) -> dict[str, Any]:
    settings = copy.deepcopy(TINY)
    *parents, last = path.split(".")
    at = settings
    for key in parents:
        at = at[key]
    at[last] = value
    return settings


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("reference", ["LIF"], r"reference: unknown 'LIF'; did you mean 'LIIF'\?"),
        ("pictures", {"highlight": "SAIR"}, r"pictures.highlight: unknown 'SAIR'; there are: LIIF, LTE"),
        ("metods", {}, r"metods: unknown key.*did you mean 'methods'\?"),
        ("methods.LTE.optimizer", {}, r"methods.LTE: unknown key 'optimizer'; did you mean 'optimiser'\?"),
        ("methods.LTE.seed", 3, r"methods.LTE: unknown key 'seed'; did you mean 'seeds'\?"),
        ("methods.LTE", {"steps": 3}, r"methods.LTE: a method needs a model, or weights_only"),
        ("methods.LTE.passes", 2, r"methods.LTE: passes goes with weights_only"),
        ("methods.LTE.first", "begin", r"methods.LTE.first: unknown 'begin'; there are: none"),
        ("base.model", {}, r"base: base holds what all runs share; 'model' is not of it"),
        ("base.stesp", 3, r"base: unknown key 'stesp'; did you mean 'steps'\?"),
        ("methods.a/b", {"model": "x"}, r"a label becomes a file's name.*'a/b'"),
        ("stages", {"LTE": {"model": {}}}, r"stages and methods share the label 'LTE'"),
        ("prepare", [{"makes": "x"}], r"prepare.0: give command or cut, and not both"),
        ("evaluation", {"protocol": "inpainting"}, r"evaluation.inpainting.data: required"),
        ("seeds", [], r"seeds: .*at least 1"),
    ],
)
def test_mistakes_are_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(ik.ConfigError, match=message):
        checked(broken(path, value))


def test_a_setting_changes_one_of_two_that_an_alias_made_equal(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump({"a": ENCODER, "b": ENCODER}))  # written as an anchor and its alias
    assert "&id001" in file.read_text()
    assert apply_settings(load_comparison(file), ["a.blocks=3"]) == {"a": {**ENCODER, "blocks": 3}, "b": ENCODER}


def test_what_is_no_report_is_said(tmp_path: Path) -> None:
    for text, message in (
        ("[]", "not the report"),
        ("{}", "not the report"),
        ('{"config": 3}', "not"),
        ("no", "cannot read"),
    ):
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(ik.UserError, match=message):
            load_comparison(tmp_path / "report.json")
    with pytest.raises(ik.UserError, match="there is no file"):
        load_comparison(tmp_path / "none.json")


def test_a_protocol_may_be_a_spec() -> None:
    flat = Evaluation.model_validate({"protocol": "benchmark", "scales": [2], "data": "Set5"})
    assert Evaluation.model_validate({"protocol": {"name": "benchmark", "scales": [2]}, "data": "Set5"}) == flat
    with pytest.raises(ValueError, match="'scales' stands inside protocol and beside it"):
        Evaluation.model_validate({"protocol": {"name": "benchmark", "scales": [2]}, "scales": [3], "data": "Set5"})
    labelled = CompareConfig._one_has_no_label({"protocol": {"name": "benchmark"}, "data": "Set5"})
    assert list(labelled) == ["benchmark"]

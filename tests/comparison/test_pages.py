"""What the documentation says of comparisons, and the configurations that come with the library."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import yaml

import implicitkit as ik
from implicitkit.cli.models.compare import compare as command
from implicitkit.comparison.plan import make_plan
from implicitkit.comparison.scores import protocol_spec
from implicitkit.config import validate
from implicitkit.config.comparison import CompareConfig, Cut, Grid, Method, Preparation, load_comparison
from oracles import ROOT

PAGE = (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")
CONFIGS = sorted((ROOT / "configs" / "compare").glob("*.yaml"))


def test_the_pages_example_holds(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    plan = make_plan(validate(CompareConfig, yaml.safe_load(example), "the page"))
    assert list(plan.rows) == ["LIIF", "LTE", "mine"] and len(plan.ordered()) == 6
    assert plan.rows["LTE"][0].config.optimiser.lr == 2e-4


@pytest.mark.parametrize("section", [CompareConfig, Method, Preparation, Cut, Grid])
def test_every_entry_is_on_the_page(section: type) -> None:
    for key in section.model_fields:
        assert re.search(rf"\b{key}\b", PAGE), key


def test_every_option_is_on_the_page() -> None:
    for name in inspect.signature(command).parameters:
        flag = {"settings": "--set", "output": "-o"}.get(name, f"--{name.replace('_', '-')}")
        assert name == "config" or flag in PAGE, flag


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_the_configurations_hold(file: Path) -> None:
    config = validate(CompareConfig, load_comparison(file), file.name)
    plan = make_plan(config)
    for run in plan.ordered():
        ik.create_model(run.config.model)
    for evaluation in plan.config.evaluation.values():
        ik.create_protocol(protocol_spec(evaluation, config.base["degradation"]))
    assert f"implicitkit compare configs/compare/{file.name}" in file.read_text(encoding="utf-8")


def test_the_schema_is_printed(run) -> None:
    outcome = run("config-schema", "--comparison")
    assert outcome.code == 0 and all(f'"{key}"' in outcome.out for key in CompareConfig.model_fields)

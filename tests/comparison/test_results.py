"""Comparing in one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import implicitkit as ik
from implicitkit.comparison.plan import make_plan
from implicitkit.config import validate
from implicitkit.config.comparison import CompareConfig, unrolled, with_training_base
from implicitkit.registry import kinds
from oracles import PHOTOS
from oracles.runs import settings


def trained(folder: Path, **more: Any) -> dict[str, Any]:
    base = {key: value for key, value in settings(folder).items() if key not in ("model", "output")}
    model = {"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": {"name": "liif", "hidden": [4]}}
    return {
        "base": base,
        "methods": {"LIIF": {"model": model, **more}},
        "seeds": [0],
        "evaluation": {"protocol": "plain", "data": str(PHOTOS), "scales": [8], "metrics": ["psnr"]},
        "output": str(folder / "compared"),
    }


@pytest.mark.slow
def test_given_weights_are_compared(tmp_path: Path) -> None:
    config = {
        "methods": {"ours": {"weights_only": "liif_small"}},
        "evaluation": {"protocol": "plain", "data": str(PHOTOS), "scales": [8], "metrics": ["psnr"]},
    }
    result = ik.compare(config, output=tmp_path / "out", device="cpu", say=lambda line: None)
    assert repr(result) == f"Comparison({tmp_path / 'out'}: ours)" and not result.failed
    assert (result.folder / "report.json").is_file() and result.summary()["ours"]["8"]["psnr"]["mean"] > 20
    assert "| ours |" in result.table() == result._repr_markdown_()
    with pytest.raises(ik.UserError, match="unknown metric"):
        result.table("psrn")


def test_lists_are_sweeps(tmp_path: Path) -> None:
    sweep = {"optimiser": {"lr": [1e-4, 1e-3]}, "model": {"decoder": {"hidden": [[4], [8, 8]]}}}
    plan = make_plan(validate(CompareConfig, trained(tmp_path, sweep=sweep), "test"))
    runs = {label: row[0] for label, row in plan.rows.items()}
    assert list(runs) == [f"LIIF lr={lr} hidden={h}" for lr in ("0.0001", "0.001") for h in ("4", "8-8")]
    last: Any = runs["LIIF lr=0.001 hidden=8-8"]
    assert last.config.optimiser.lr == 1e-3 and last.config.model.decoder.as_dict()["hidden"] == [8, 8]
    assert last.config.optimiser.schedule.name == "constant"  # the base's
    again = validate(CompareConfig, plan.config.model_dump(mode="json"), "report.json")
    assert list(again.methods) == list(runs)
    for wrong, message in (
        ({"steps": 5}, "LIIF.sweep.steps: a list of values; received 5"),
        ({"seed": list(range(11)), "steps": list(range(10))}, "110 combinations; at most 100"),
    ):
        with pytest.raises(ValueError, match=message):
            unrolled({"LIIF": {"sweep": wrong}})


def test_a_base_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(settings(tmp_path / "run")))
    entries = trained(tmp_path) | {"base": {"base": "train.yaml", "steps": 3}}
    config = validate(CompareConfig, with_training_base(entries, tmp_path, "test"), "test")
    assert config.base["steps"] == 3 and config.base["data"]["patch"] == 12 and "output" not in config.base
    plain = with_training_base(entries | {"base": "train.yaml"}, tmp_path, "test")
    assert plain["base"]["steps"] == 8


def test_what_is_registered_by_hand_is_refused_before_a_process_misses_it(tmp_path: Path) -> None:
    class Wave(ik.Metric):
        name = "a_tests_wave"

        def measure(self, prediction: Any, target: Any, mask: Any) -> float:
            return 0.0

    ik.register_metric("a_tests_wave", Wave)
    try:
        config = trained(tmp_path)
        config["base"]["validation"] = {"every": 1, "scales": [2], "metrics": ["a_tests_wave"]}
        with pytest.raises(ik.ConfigError, match="metric 'a_tests_wave': registered by hand, in this process alone"):
            ik.compare(config, say=lambda line: None)
        assert not (tmp_path / "compared").exists()
    finally:
        kinds.metrics.discard(["a_tests_wave"])

"""The quick comparisons: what they share, that their parts fit, and one of them from photographs to report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import implicitkit as ik
from implicitkit.comparison.compare import compare
from implicitkit.comparison.plan import make_plan
from implicitkit.comparison.scores import protocol_spec
from implicitkit.config import validate
from implicitkit.config.comparison import CompareConfig, load_comparison
from implicitkit.images.squares import cut_squares
from implicitkit.training.loop import train
from implicitkit.training.resume import begin_run
from implicitkit_sair.training.pretrain import Settings, pretrain

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "plugins" / "sair" / "configs" / "compare"
QUICK = {
    "inpainting": ["0-20", "20-40", "40-60"],
    "noise": ["sigma 25", "sigma 50", "sigma 75"],
    "super_resolution": ["scale 2", "scale 3", "scale 4"],
    "blur": ["mild", "middling", "strong"],
}


def loaded(name: str, output: Path) -> dict[str, Any]:
    return {**load_comparison(FOLDER / f"quick_{name}.yaml"), "output": str(output)}


def test_they_differ_by_the_line_of_their_degradation() -> None:
    assert {p.stem for p in FOLDER.glob("*.yaml")} == {f"quick_{name}" for name in QUICK}
    seen = []
    for name in QUICK:
        config = load_comparison(FOLDER / f"quick_{name}.yaml")
        assert config.pop("output") == f"runs/compare/quick_{name}" and config.pop("title")
        assert config["base"].pop("degradation")["name"] == name
        seen.append(config)
    assert all(config == seen[0] for config in seen)


@pytest.mark.parametrize("name", QUICK)
def test_the_test_follows_the_degradation(name: str, tmp_path: Path) -> None:
    config = validate(CompareConfig, loaded(name, tmp_path), name)
    plan = make_plan(config)
    assert list(plan.rows) == ["LIIF", "LTE", "control", "SAIR", "SemLTE"]
    protocol = ik.create_protocol(protocol_spec(plan.config.evaluation["test"], config.base["degradation"]))
    found = protocol.settings()
    settings = found["settings"] if "settings" in found else [f"{low:g}-{high:g}" for low, high in found["bins"]]
    assert list(settings) == QUICK[name]


def test_from_photographs_to_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the command does it, but in this process and for two steps: the parts fit, and the control costs what SAIR
    does.
    """
    monkeypatch.chdir(ROOT)
    settings = loaded("inpainting", tmp_path / "out") | {"jobs": 1, "threads": 1}
    settings["base"] |= {"steps": 2, "batch": 1, "log_every": 1}
    settings["base"]["data"] |= {"held_out": 1}
    settings["prepare"][0]["cut"]["test_every"] = 40
    config = validate(CompareConfig, settings, "quick")
    plan = make_plan(config)
    squares, mae = plan.config.prepare
    assert squares.cut is not None and mae.command is not None
    cut_squares(squares.cut.folders, Path(squares.makes), side=squares.cut.side, test_every=squares.cut.test_every)
    width, depth = (int(mae.command[mae.command.index(flag) + 1]) for flag in ("--width", "--depth"))
    pretrain(Path(mae.command[1]), Path(mae.makes), Settings(width=width, depth=depth, steps=1, batch=1, size=48))
    for run in plan.ordered():
        begin_run(run.config)
        train(run.config, resume=True)
    report = compare(config, train=False, device="cpu")
    costs = report["evaluations"]["test"]["costs"]
    assert costs["control"]["total"] == costs["SAIR"]["total"] > costs["LIIF"]["total"]
    assert list(report["evaluations"]["test"]["differences"]) == ["control", "LIIF"]
    assert report["evaluations"]["test"]["grid"]["highlight"] == "SAIR"
    assert set(report["different"]) == {"loss"} and report["missing"] == {}
    assert {p.name for p in (tmp_path / "out").glob("*.png")} == {"curves.png", "grid.png"}

"""The studies: their configurations hold, and what resident.py trains is what a comparison reports."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import implicitkit as ik
from implicitkit.comparison.compare import compare
from implicitkit.comparison.plan import make_plan
from implicitkit.config import validate
from implicitkit.config.comparison import CompareConfig, load_comparison

ROOT = Path(__file__).parents[3]
STUDIES = ROOT / "plugins" / "sair" / "studies"
SIDE = 24


def script(name: str) -> ModuleType:
    """A module of the studies' folder, which is no package."""
    spec = importlib.util.spec_from_file_location(f"studies_{name}", STUDIES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def resident(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))  # benchmarks, which is not installed
    monkeypatch.syspath_prepend(str(STUDIES))
    module = script("resident")
    monkeypatch.setattr(module.filling, "biharmonic_fill", module.SOLVE)  # what it replaces is put back
    return module


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Five smooth pictures."""
    y, x = torch.meshgrid(torch.linspace(0, 1, SIDE), torch.linspace(0, 1, SIDE), indexing="ij")
    (tmp_path / "faces").mkdir()
    for k in range(5):
        picture = torch.stack([0.5 + 0.4 * torch.sin((3 + k) * x + c * y) for c in (1, 4, 7)])
        ik.write_image(tmp_path / "faces" / f"{k}.png", picture)
    return tmp_path / "faces"


def study(folder: Path, faces: Path, degradation: dict[str, Any], evaluation: dict[str, Any]) -> Path:
    """A small one of two methods."""
    small = {"encoder": {"name": "edsr", "blocks": 1, "channels": 8}, "inputs": ["image", "mask"]}
    skip = "biharmonic" if degradation["name"] == "inpainting" else "bilinear"
    fill = {"fill": "biharmonic"} if skip == "biharmonic" else {}
    content = {
        "output": str(folder / "runs"),
        "seeds": [0],
        "base": {
            "degradation": degradation,
            "data": {"folders": [str(faces)], "patch": SIDE, "points": 64, "held_out": 1},
            "loss": {"name": "psnr", "weight": 0.1},
            "optimiser": {"name": "adamw", "lr": 1e-3},
            "validation": {"every": 3, "max_size": SIDE},
            "ema": 0.9,
            "steps": 3,
            "batch": 4,
        },
        "methods": {
            name: {"model": {**small, **fill, "decoder": {"name": "liif", "hidden": [8], "skip": skip, **more}}}
            for name, more in {"LIIF": {}, "one cell": {"local_ensemble": False}}.items()
        },
        "reference": ["LIIF"],
        "evaluation": {"data": str(faces), "metrics": ["psnr"], **evaluation},
    }
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


@pytest.mark.parametrize("name", sorted(file.stem for file in STUDIES.glob("faces_*.yaml")))
def test_each_study_has_a_plan_whose_methods_differ_by_what_they_say(name: str) -> None:
    config = validate(CompareConfig, load_comparison(STUDIES / f"{name}.yaml"), name)
    plan = make_plan(config)
    assert set(config.reference) <= set(plan.rows)
    runs = [row[0] for row in plan.rows.values()]
    assert len({run.config.model_dump_json(exclude={"output"}) for run in runs}) == len(runs)  # type: ignore[union-attr]
    assert len({(run.config.steps, run.config.batch, run.config.ema) for run in runs}) == 1  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["noise", "holes", "magnification"])
def test_what_resident_trains_is_what_the_comparison_reports(
    kind: str, faces: Path, tmp_path: Path, resident: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = test = faces
    if kind == "noise":
        degradation: dict[str, Any] = {"name": "noise", "sigma": [0, 50]}
        evaluation: dict[str, Any] = {
            "protocol": "restoration",
            "settings": {"sigma 25": {"name": "noise", "sigma": 25}},
        }
    elif kind == "magnification":
        degradation = {"name": "super_resolution", "scale": 2, "kernel": "matlab", "quantise": True}
        evaluation = {"protocol": "plain", "scales": [2]}
    else:
        degradation = {"name": "inpainting", "kind": "strokes", "ratio": [0.1, 0.4]}
        evaluation = {
            "protocol": "inpainting",
            "size": SIDE,
            "bins": [[20, 40]],
            "fill": "biharmonic",
            "solvers": False,
        }
        plates = script("plates")
        masks, pool = tmp_path / "masks", tmp_path / "pool"
        masks.mkdir()
        square = torch.zeros(1, SIDE, SIDE)
        square[:, 4:16, 6:18] = 1
        ik.write_image(masks / "square.png", square.expand(3, -1, -1))
        evaluation["masks"] = str(masks)
        monkeypatch.setattr(plates, "EXAMPLES", 16)
        for arguments in (["--files", "2"], ["--test", str(masks)]):
            monkeypatch.setattr("sys.argv", ["plates", str(faces), str(pool), "--side", str(SIDE), *arguments])
            with monkeypatch.context() as context:
                context.setattr(
                    plates,
                    "InpaintingProtocol",
                    lambda **o: ik.create_protocol({"name": "inpainting", "bins": [[20, 40]], **o}),
                )
                threads = torch.get_num_threads()
                plates.main()
                torch.set_num_threads(threads)
        examples, test = pool, pool / "test.npz"
    file = study(tmp_path, faces, degradation, evaluation)
    for method in ("LIIF", "one cell"):
        given = [
            str(file),
            str(examples),
            "--method",
            method,
            "--test",
            str(test),
            "--device",
            "cpu",
            "--log-every",
            "1",
        ]
        monkeypatch.setattr("sys.argv", ["resident", *given])
        resident.main()
    folder = tmp_path / "runs" / "runs" / "one cell" / "seed-0"
    losses = [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]
    assert len(losses) == 3 and all(map(math.isfinite, losses))
    config = validate(CompareConfig, load_comparison(file), str(file))
    monkeypatch.setattr("implicitkit.comparison.scores.load_model", lambda name: pytest.fail("its scores are there"))
    report = compare(config, train=False, device="cpu")
    (scored,) = report["evaluations"].values()
    kept = json.loads((folder / "scores.json").read_text())
    metric = "psnr_hole" if kind == "holes" else "psnr"
    for setting, metrics in kept["scores"].items():
        found = scored["summary"]["one cell"][setting][metric]["mean"]
        assert found == pytest.approx(np.mean(list(metrics[metric].values())), abs=1e-3)
        assert found == pytest.approx(kept["mean"][setting][metric], abs=1e-3)
    assert scored["costs"]["one cell"]["macs"] > 0 and scored["costs"]["one cell"]["seconds"] > 0
    # and they are what the command itself measures
    monkeypatch.undo()
    model = ik.load_model(folder / "best.safetensors")
    protocol = ik.create_protocol(
        {"name": scored["protocol"], **{k: v for k, v in scored["spec"].items() if k != "name"}}
    )
    again = protocol.evaluate({"x": model}, faces, metrics=["psnr"]).values["x"]
    for setting, metrics in kept["scores"].items():
        for picture, value in metrics[metric].items():
            assert again[setting][metric][picture] == pytest.approx(value, abs=0.02)


@pytest.mark.slow
def test_all_runs_trains_what_is_missing(faces: Path, tmp_path: Path) -> None:
    evaluation = {"protocol": "restoration", "settings": {"sigma 25": {"name": "noise", "sigma": 25}}}
    file = study(tmp_path, faces, {"name": "noise", "sigma": [0, 50]}, evaluation)
    folders = [str(ROOT), str(ROOT / "plugins" / "sair"), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, str(STUDIES / "all_runs.py"), str(file), "--examples", str(faces), "--test", str(faces)]
    given = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    runs = tmp_path / "runs" / "runs"
    for more, expected in (
        (["--seconds", "0"], 0),
        (["--jobs", "2", "--", "--device", "nowhere"], 1),
        (["--jobs", "2", "--", "--device", "cpu"], 0),
        ([], 0),
    ):
        done = subprocess.run([*command, *more], env=given, capture_output=True, text=True, check=False)
        assert done.returncode == expected, done.stderr
        if expected:
            assert "exit code 1, see" in done.stdout
            assert "nowhere" in (runs / "LIIF" / "seed-0" / "output.txt").read_text()
        elif "cpu" in more:
            assert "one cell/seed-0" in done.stdout
            assert all((runs / name / "seed-0" / "scores.json").is_file() for name in ("LIIF", "one cell"))
        elif "0" in more:
            assert done.stdout.count("left for another time") == 2
        else:
            assert not done.stdout  # nothing is missing


def test_it_says_what_it_lacks(
    resident: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["resident", str(STUDIES / "faces_noise.yaml"), "faces"])
    with pytest.raises(SystemExit):
        resident.main()
    assert "give OUT, or --method" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["resident", str(STUDIES / "faces_noise.yaml"), "faces", "out", "--test", "faces"])
    with pytest.raises(SystemExit):
        resident.main()
    assert "--test scores by a study's protocol: give --method" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="are made on the device"):
        script("resident_examples").degrading({"name": "blur"}, (8, 8), torch.device("cpu"))

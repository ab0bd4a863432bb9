"""Numbers of a run reach W&B and MLflow through accelerate's trackers, and a resumed run goes on in the same one."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import accelerate.tracking
import pytest
import torch

import implicitkit as ik
from implicitkit.registry import extras
from implicitkit.training.loggers import RUNS, Loggers
from oracles.runs import settings


class Tracker:
    """A stand-in for an accelerate tracker, with all that was asked of any."""

    made: list[Tracker]
    name: str

    def __init__(self, project: str, **options: Any) -> None:
        self.project, self.options, self.said, self.shown, self.ended = project, options, [], [], False
        self.made.append(self)

    def start(self) -> None:
        known = self.options.get("id") or self.options.get("run_id")
        self.tracker = SimpleNamespace(
            id=known or f"new {self.name}", info=SimpleNamespace(run_id=known or "new mlflow")
        )

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.configuration = values

    def log(self, values: dict[str, float], step: int) -> None:
        self.said.append((step, values))

    def log_images(self, values: dict[str, list[Any]], step: int) -> None:
        self.shown.append((step, values))

    def finish(self) -> None:
        self.ended = True


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Tracker]:
    made: list[Tracker] = []
    for name, place in (("wandb", "WandBTracker"), ("mlflow", "MLflowTracker")):
        monkeypatch.setattr(accelerate.tracking, place, type(place, (Tracker,), {"made": made, "name": name}))
    find = importlib.util.find_spec
    there = SimpleNamespace(find_spec=lambda name: True if name in ("wandb", "mlflow") else find(name))
    monkeypatch.setattr(extras, "importlib", SimpleNamespace(util=there))
    return made


def test_a_resumed_run_goes_on_in_the_same_one(made: list[Tracker], tmp_path: Path) -> None:
    every = {"every": 2, "scales": [2]}
    how = {"loggers": ["wandb", "mlflow"], "validation": every, "log_every": 1, "checkpoint_every": 2}
    ik.train(settings(tmp_path / "run", steps=2, **how), show=False)
    wandb, mlflow = made
    assert wandb.project == mlflow.project == "implicitkit" and wandb.ended and mlflow.ended
    assert wandb.options == {"name": "run", "dir": str(tmp_path / "run")} and mlflow.options["run_name"] == "run"
    assert wandb.configuration["optimiser"]["lr"] == mlflow.configuration["optimiser.lr"]
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = {line["step"]: line["loss"] for line in lines if line["event"] == "train"}
    assert {step: v["train/loss"] for step, v in wandb.said if "train/loss" in v} == losses and len(losses) == 2
    assert [step for step, _ in wandb.shown] == [2] and mlflow.shown == [] and mlflow.said == wandb.said
    assert not list((tmp_path / "run").glob("events.out*"))
    known = json.loads((tmp_path / "run" / RUNS).read_text())
    assert known == {"wandb": "new wandb", "mlflow": "new mlflow"}
    ik.train(settings(tmp_path / "run", steps=4, **how), resume=True, show=False)
    assert made[2].options["id"] == "new wandb" and made[2].options["resume"] == "allow"
    assert made[3].options["run_id"] == "new mlflow" and not hasattr(made[3], "configuration")
    assert [step for step, v in made[2].said if "train/loss" in v] == [3, 4]


def test_a_logger_that_is_unknown_or_not_installed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ik.ConfigError, match="loggers.*'tensorboard', 'wandb' or 'mlflow'"):
        ik.train(settings(tmp_path / "run", loggers=["comet"]), show=False)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ik.MissingPackageError) as raised:
        ik.train(settings(tmp_path / "run", loggers="wandb"), show=False)
    assert str(raised.value) == "the logger wandb needs wandb, which is not installed: pip install 'implicitkit[wandb]'"
    assert not (tmp_path / "run").exists()


def test_one_that_cannot_start_is_one_line(
    made: list[Tracker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Tracker) -> None:
        raise ConnectionError("no api key\nsee the docs")

    monkeypatch.setattr(Tracker, "start", fail)
    with pytest.raises(ik.UserError, match=r"^loggers: wandb cannot start: no api key$"):
        Loggers(["wandb"], tmp_path, {}).scalars({"a": 1.0}, 1)


def test_without_loggers_the_log_alone_is_written(tmp_path: Path) -> None:
    Loggers([], tmp_path, {}).scalars({"a": 1.0}, 1)
    assert list(tmp_path.iterdir()) == []
    told = Loggers(["tensorboard"], tmp_path, {})
    told.scalars({"a": 1.0}, 1)
    told.picture("b", torch.rand(3, 4, 4), 1)
    told.close()
    assert [file.name.startswith("events.out") for file in tmp_path.iterdir()] == [True]


@pytest.mark.filterwarnings("default")  # their own
@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_the_real_one_takes_it_offline(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("GIT_PYTHON_REFRESH", "quiet")
    for steps, resume in ((1, False), (2, True)):
        how = {"loggers": name, "log_every": 1, "checkpoint_every": 1, "validation": {"every": 1, "scales": [2]}}
        ik.train(settings(tmp_path / "run", steps=steps, **how), resume=resume, show=False)
    known = json.loads((tmp_path / "run" / RUNS).read_text())[name]
    if name == "mlflow":
        import mlflow

        history = mlflow.MlflowClient().get_metric_history(known, "train/loss")
        assert [metric.step for metric in history] == [1, 2]
    else:
        runs = list((tmp_path / "run" / "wandb").glob(f"offline-run-*-{known}"))
        assert runs and all(list(run.glob("*.wandb")) for run in runs)

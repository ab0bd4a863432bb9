"""Callbacks: when they are called, what they may do, and that a resumed run remembers them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import implicitkit as ik
from implicitkit.training.callbacks import Callbacks, EarlyStopping
from implicitkit.training.loop import train
from oracles.runs import identical, settings, weights


class Diary(ik.Callback):
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def on_start(self, training: ik.TrainingState) -> None:
        self.calls.append(("start", training.start))

    def on_step(self, training: ik.TrainingState) -> None:
        assert float(training.loss) > 0 and training.lr > 0
        self.calls.append(training.step)

    def on_log(self, training: ik.TrainingState, entry: Mapping[str, Any]) -> None:
        self.calls.append(entry["event"])

    def on_validation(self, training: ik.TrainingState, validation: Any) -> None:
        assert not training.model.training
        self.calls.append(("validation", *training.scores))

    def on_checkpoint(self, training: ik.TrainingState, folder: Path) -> None:
        assert (folder / "run.json").is_file()
        self.calls.append(folder.name)

    def on_end(self, training: ik.TrainingState) -> None:
        assert (training.folder / "last.safetensors").is_file()
        self.calls.append("end")


def config(folder: Path, **changes: Any) -> Any:
    from implicitkit.config import TrainConfig, validate

    return validate(TrainConfig, settings(folder, **changes), "test")


def test_they_are_called_in_order(tmp_path: Path) -> None:
    diary = Diary()
    train(config(tmp_path / "run", steps=2, log_every=2, checkpoint_every=1), callbacks=[diary])
    assert diary.calls == [
        "start",
        ("start", 0),
        *(1, "step-1"),
        *(2, "train", "validation", ("validation", "psnr"), "step-2"),
        "end",
    ]


def test_they_change_no_bit(tmp_path: Path) -> None:
    train(config(tmp_path / "alone"))
    train(config(tmp_path / "followed"), callbacks=[Diary()])
    assert identical(weights(tmp_path / "alone"), weights(tmp_path / "followed"))


class StopAt(ik.Callback):
    def __init__(self, step: int = 3) -> None:
        self.step, self.seen = step, 0

    def on_step(self, training: ik.TrainingState) -> None:
        self.seen += 1
        training.log(seen=self.seen)
        if training.step == self.step:
            training.stop("enough")

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.seen = state["seen"]


def test_one_may_stop_a_run_which_can_go_on_later_and_remembers(tmp_path: Path) -> None:
    stopped = ik.train(settings(tmp_path / "run"), callbacks=[StopAt(3)], show=False)
    assert stopped.steps == 3 and stopped.history[-1]["reason"] == "enough"
    assert (tmp_path / "run" / "checkpoints" / "step-3").is_dir() and stopped.last.is_file()
    later = StopAt(100)
    resumed = ik.train(settings(tmp_path / "run"), callbacks=[later], resume=True, show=False)
    assert resumed.steps == 8 and later.seen == 8
    assert [entry["seen"] for entry in resumed.history if entry["event"] == "callback"] == list(range(1, 9))
    whole = train(config(tmp_path / "whole"))
    assert identical(weights(tmp_path / "run"), weights(whole))


def test_early_stopping_waits_and_remembers(tmp_path: Path) -> None:
    spec = {"name": "early_stopping", "patience": 2, "min_delta": 1e6}
    every = {"every": 1, "scales": [2], "max_size": 48}
    result = ik.train(settings(tmp_path / "run", callbacks=spec, validation=every), show=False)
    assert result.steps == 3  # the first is the best, two others are no better
    again = ik.train(settings(tmp_path / "run", callbacks=spec, validation=every), resume=True, show=False)
    assert again.steps == 3
    with pytest.raises(ik.ConfigError, match="early_stopping: nothing is validated; set data.held_out"):
        ik.train(settings(tmp_path / "other", callbacks=spec, data={"held_out": 0}), show=False)
    assert not (tmp_path / "other").exists()
    with pytest.raises(ValueError, match="patience is at least 1"):
        EarlyStopping(patience=0)


def test_what_fails_is_named(tmp_path: Path) -> None:
    class Broken(ik.Callback):
        def on_step(self, training: ik.TrainingState) -> None:
            raise KeyError("lost")

    with pytest.raises(ik.UserError, match=r"callbacks: Broken\.on_step: KeyError: 'lost'"):
        ik.train(settings(tmp_path / "run"), callbacks=[Broken()], show=False)
    with pytest.raises(ik.ConfigError, match="callbacks: a callback is an implicitkit.Callback; received Diary"):
        Callbacks([type("Diary", (), {})()])
    with pytest.raises(ik.ConfigError, match="unknown callback 'early_stoping'; did you mean 'early_stopping'"):
        Callbacks(["early_stoping"])


def test_one_alone_needs_no_list(tmp_path: Path) -> None:
    diary = Diary()
    ik.train(settings(tmp_path / "run", steps=1), callbacks=diary, show=False)
    assert 1 in diary.calls
    for one in ("early_stopping", {"name": "early_stopping", "patience": 2}, EarlyStopping()):
        assert list(Callbacks(one).callbacks) in (["early_stopping"], ["EarlyStopping"])
    with pytest.raises(ik.ConfigError, match="a callback is an implicitkit.Callback; received int"):
        Callbacks(3)

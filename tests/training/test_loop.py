"""Training for real: killed and resumed, on two ranks, refused where it must be."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

import implicitkit as ik
from implicitkit.errors import ConfigError
from implicitkit.losses import Loss, WeightedLoss
from implicitkit.training.assembly import may_leave_unused
from implicitkit.training.loop import StepBatches
from oracles.runs import ENVIRONMENT, identical, run, settings, weights


def config(output: Path, **changes: Any) -> dict[str, Any]:
    return settings(
        output, **{"steps": 24, **changes, "optimiser": {"schedule": "cosine", **changes.get("optimiser", {})}}
    )


def test_training_learns(tmp_path: Path) -> None:
    folder = run(config(tmp_path / "run", steps=120, log_every=20, checkpoint_every=1000))
    losses = [
        e["loss"]
        for line in (folder / "log.jsonl").read_text().splitlines()
        if (e := json.loads(line))["event"] == "train"
    ]
    assert losses[-1] < 0.9 * losses[0], losses


def command(asked: dict[str, Any], file: Path, *options: str) -> list[str]:
    file.write_text(yaml.safe_dump(asked))
    return [sys.executable, "-m", "implicitkit", "train", str(file), *options]


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed_gives_the_same_bits(tmp_path: Path) -> None:
    whole = config(tmp_path / "whole", steps=60)  # as a process of its own: sums depend on the number of threads
    subprocess.run(command(whole, tmp_path / "w.yaml"), env=ENVIRONMENT, check=True, capture_output=True)
    asked = config(tmp_path / "killed", steps=60)
    log, kills = tmp_path / "killed" / "log.jsonl", 0
    for attempt in range(2):
        options = ["--resume"] if attempt else []
        process = subprocess.Popen(
            command(asked, tmp_path / "c.yaml", *options), env=ENVIRONMENT, stderr=subprocess.DEVNULL
        )
        reached, deadline = 20 * (attempt + 1), time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            steps = [int(p.name[5:]) for p in (tmp_path / "killed" / "checkpoints").glob("step-*")]
            if steps and max(steps) >= reached:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.002)
        process.wait()
    assert kills == 2
    assert not (tmp_path / "killed" / "last.safetensors").exists()
    done = subprocess.run(
        command(asked, tmp_path / "c.yaml", "--resume"), env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "resumed at step" in done.stderr
    assert identical(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [e["step"] for e in entries if e["event"] == "train"] == list(range(4, 61, 4))  # no step twice, none lost


def test_workers_change_nothing(tmp_path: Path) -> None:
    asked = config(tmp_path / "a", steps=6)
    with_workers = config(tmp_path / "b", steps=6, data={"workers": 2})
    assert identical(weights(run(asked)), weights(run(with_workers)))


def test_steps_are_shared_out_by_rank() -> None:
    batches = [list(StepBatches(2, 4, 6, rank, 3)) for rank in range(3)]
    assert batches == [[[12, 13], [18, 19]], [[14, 15], [20, 21]], [[16, 17], [22, 23]]]


def test_a_diverging_run_stops_and_can_be_rescued_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(config(tmp_path / "run", steps=4))
    wild = config(tmp_path / "run", optimiser={"schedule": "constant"}, log_every=100, checkpoint_every=2)
    monkeypatch.setattr("implicitkit.training.optimisation.schedule.Constant.rate", lambda *_: 1e30)
    with pytest.raises(ik.UserError, match=r"no longer finite at step 6.*lower optimiser\.lr"):
        run(wild, resume=True)
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-4"]
    with pytest.raises(ik.UserError, match=r"the loss is (nan|inf)"):
        run({**wild, "log_every": 2, "checkpoint_every": 100}, resume=True)
    monkeypatch.undo()
    folder = run(config(tmp_path / "run", steps=8, optimiser={"lr": 1e-4}), resume=True)
    assert all(v.isfinite().all() for v in weights(folder).values())


def test_bad_validation_pictures_are_found_before_the_first_step(tmp_path: Path) -> None:
    ik.write_image(tmp_path / "v" / "tiny.png", torch.rand(3, 6, 6)) if (tmp_path / "v").mkdir() is None else None
    asked = config(tmp_path / "run", validation={"folders": [str(tmp_path / "v")], "scales": [4]})
    with pytest.raises(ik.DataError, match=r"tiny\.png \(6×6 pixels\) is too small to validate on at scale 4"):
        run(asked)
    (tmp_path / "v" / "tiny.png").write_bytes(b"junk")
    with pytest.raises(ik.ImageError, match=r"tiny\.png"):
        run(asked)
    assert not (tmp_path / "run").exists()


def test_what_does_not_go_together_is_found_before_the_first_step(tmp_path: Path, meaning: None) -> None:
    six = {"encoder": {"name": "edsr", "blocks": 1, "channels": 6}, "decoder": {"name": "bilinear", "project": False}}
    with pytest.raises(
        ValueError, match="L1 compares the model's 6 values per point with a picture's 3; use another loss"
    ):
        run(config(tmp_path / "run", model=six))
    assert not (tmp_path / "run").exists()


def test_what_validates_does_not_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from implicitkit.training import assembly as training

    seen = []
    original = training.TrainingCrops
    monkeypatch.setattr(training, "TrainingCrops", lambda p, *rest: seen.extend(p.names) or original(p, *rest))
    asked = config(tmp_path / "run", steps=1)
    asked["data"]["folders"] *= 2  # the same folder twice
    run(asked)
    assert len(seen) == 2 and len(set(seen)) == 2


def test_a_run_may_start_from_weights(tmp_path: Path) -> None:
    first = run(config(tmp_path / "first", steps=4))
    still = {"lr": 1e-30, "schedule": "constant"}
    again = run(config(tmp_path / "again", steps=1, weights=str(first / "last.safetensors"), optimiser=still))
    assert identical(weights(first), weights(again))
    with pytest.raises(ik.ConfigError, match="weights: there is no file none.safetensors"):
        run(config(tmp_path / "new", weights="none.safetensors"))
    with pytest.raises(ik.ConfigError, match="weights: liif_small does not fit the model; missing"):
        run(config(tmp_path / "new", weights="liif_small", model={"encoder": "edsr_baseline", "decoder": "liif"}))


class Meaning(Loss):
    """A stand-in for a loss on a condition: asks for the clean pictures and for the model."""

    wants_reference = True

    def attach(self, model: ik.ImplicitModel) -> None:
        self.model = model

    def __call__(self, prediction: ik.Prediction, batch: Any) -> torch.Tensor:
        clean = batch["reference"]
        assert len(clean) == len(batch["image"]) and all(picture.shape[0] == 3 for picture in clean)
        embedding = self.model.decoder.output == "embedding"
        values = prediction.values if embedding else prediction.conditions["semantic"]
        return values.square().mean() + torch.stack([picture.mean() for picture in clean]).mean()


class Tinted(ik.LocalEnsembleDecoder):
    """A decoder that reads a condition."""

    conditions = ("semantic",)
    uses_cell = False

    def __init__(self, in_channels: int = 8) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, 3
        self.read = torch.nn.Linear(in_channels + 8, 3)

    def prepare(self, features: Any, inputs: Any, conditions: Any) -> Any:
        return self.lay_out(features, features.map)

    def at_point(self, cell: Any, conditions: Any) -> torch.Tensor:
        return conditions["semantic"]

    def local(self, rows: Any, offset: Any, cell: Any, point: Any) -> torch.Tensor:
        return self.read(torch.cat([rows, point.expand(len(rows), -1)], dim=-1))


class Outer(Tinted):
    """A decoder that reads a model which itself reads a condition."""

    conditions = ("inner",)


@pytest.fixture
def meaning():
    class Plugin:
        @ik.hookimpl
        def register_losses(self, register: Any) -> None:
            register("a_tests_meaning", Meaning)

        @ik.hookimpl
        def register_decoders(self, register: Any) -> None:
            register("a_tests_tinted", Tinted)

    registered = ik.register_plugin(Plugin())
    yield
    ik.unregister_plugin(registered)


def test_a_loss_is_given_the_conditions_that_it_reads(meaning: None) -> None:
    assert WeightedLoss([{"name": "l1"}, {"name": "charbonnier"}]).reads == ()
    assert WeightedLoss([{"name": "l1"}, {"name": "a_tests_meaning"}]).reads is None  # it does not say: all of them
    total = WeightedLoss([{"name": "l1"}, {"name": "a_tests_meaning"}])
    total.terms["a_tests_meaning"][1].reads = ("semantic",)
    assert total.reads == ("semantic",)


def test_a_part_that_no_loss_reaches_is_not_waited_for(meaning: None, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"name": "edsr", "blocks": 1, "channels": 8}
    semantic = {"encoder": small, "decoder": {"name": "bilinear", "project": True}}
    tinted = ik.create_decoder("a_tests_tinted")
    model = ik.ImplicitModel(ik.create_encoder(small), tinted, {"semantic": ik.create_model(semantic)})
    assert not may_leave_unused(model, ())  # the decoder reads it at its points
    monkeypatch.setattr(Tinted, "queried", ())
    assert (
        may_leave_unused(model, ()) and not may_leave_unused(model, ("semantic",)) and not may_leave_unused(model, None)
    )
    outer = ik.ImplicitModel(ik.create_encoder(small), Outer(), {"inner": model})
    assert may_leave_unused(outer, ("inner",))
    model.conditions["semantic"].requires_grad_(False)
    assert not may_leave_unused(model, ()) and not may_leave_unused(outer, ("inner",))
    skipping = ik.create_model({"encoder": small, "decoder": {"name": "clit", "width": 8, "stages": 2}})
    assert may_leave_unused(skipping, None)  # its second stage, where no point needs it


def test_two_stages_with_two_losses(tmp_path: Path, meaning: None) -> None:
    small = {"name": "edsr", "blocks": 1, "channels": 8, "res_scale": 1.0}
    semantic = {"encoder": small, "decoder": {"name": "bilinear", "project": False}}
    first = run(config(tmp_path / "first", model=semantic, loss="a_tests_meaning", steps=8, batch=2))
    entries = [json.loads(line) for line in (first / "log.jsonl").read_text().splitlines()]
    validated = [e for e in entries if e["event"] == "validation"]
    assert validated and all("psnr" not in e and math.isfinite(e["loss"]) for e in validated)
    assert (first / "best.safetensors").is_file()

    semantic["encoder"] = {**small, "trainable": False}
    model = {"encoder": small, "decoder": "a_tests_tinted", "conditions": {"semantic": semantic}}
    asked = config(
        tmp_path / "second",
        model=model,
        loss=[{"name": "l1", "hole_weight": 2}, {"name": "a_tests_meaning", "weight": 0.5}],
        weights={"conditions": {"semantic": str(first / "best.safetensors")}},
        steps=8,
        batch=2,
    )
    second = run(asked)
    entries = [json.loads(line) for line in (second / "log.jsonl").read_text().splitlines()]
    logged = [e for e in entries if e["event"] == "train"]
    for e in logged:
        assert e["loss"] == pytest.approx(e["loss_l1"] + 0.5 * e["loss_a_tests_meaning"], rel=1e-5)
    before, after = load_file(first / "best.safetensors"), weights(second)
    frozen = {k: v for k, v in after.items() if k.startswith("conditions.semantic.encoder.")}
    assert frozen and all(torch.equal(v, before[k.removeprefix("conditions.semantic.")]) for k, v in frozen.items())
    assert ik.load_model(second / "last.safetensors").conditions["semantic"].encoder.trainable is False
    asked["weights"] = {"conditions": {"meaning": str(first / "best.safetensors")}}
    with pytest.raises(ConfigError, match=r"conditions.meaning: the model has no such part"):
        run({**asked, "output": str(tmp_path / "third")})


class Odd(Loss):
    """A loss that does not hold, in one of several ways."""

    def __init__(self, way: str) -> None:
        self.way = way

    def __call__(self, prediction: ik.Prediction, batch: Any) -> torch.Tensor:
        value = (prediction.values - batch["target"]).abs().mean()
        match self.way:
            case "detached":
                return value.detach()
            case "nan":
                return value * math.nan
            case "raises":
                raise ZeroDivisionError("division by zero\nand more")
            case _:
                return value[None]


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("detached", r"^loss: a_tests_odd gives the model no gradient; compute it from prediction.values"),
        ("nan", r"^loss: a_tests_odd is nan for the first crop"),
        ("raises", r"^loss: ZeroDivisionError: division by zero$"),
        ("vector", r"^loss: a_tests_odd returned a tensor of shape \[1\]"),
    ],
)
def test_a_loss_that_does_not_hold_is_named_and_leaves_nothing(tmp_path: Path, way: str, message: str) -> None:
    class Plugin:
        @ik.hookimpl
        def register_losses(self, register: Any) -> None:
            register("a_tests_odd", Odd)

    registered = ik.register_plugin(Plugin())
    try:
        with pytest.raises(ConfigError, match=message):
            run(config(tmp_path / "run", loss={"name": "a_tests_odd", "way": way}))
    finally:
        ik.unregister_plugin(registered)
    assert not (tmp_path / "run").exists()


def test_a_model_that_is_frozen_is_not_trained(tmp_path: Path) -> None:
    frozen = {"encoder": {"name": "edsr", "blocks": 1, "channels": 8, "trainable": False}}
    frozen["decoder"] = {"name": "liif", "hidden": [8], "trainable": False}
    with pytest.raises(ConfigError, match="model: nothing to train; every part of it is frozen"):
        run(config(tmp_path / "run", model=frozen))


def test_an_unknown_option_of_the_validation_is_found_before_the_run(tmp_path: Path) -> None:
    validation = {"every": 1000, "scales": [2], "max_size": 48, "options": {"temperature": 1}}
    with pytest.raises(ik.ConfigError, match=r"^validation\.options: liif has no option 'temperature'; it takes none$"):
        run(settings(tmp_path / "run", validation=validation))
    assert not (tmp_path / "run").exists()

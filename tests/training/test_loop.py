"""Training for real: killed and resumed, on two ranks, refused where it must be."""

from __future__ import annotations

import json
import math
import os
import shutil
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
from implicitkit.config import OptimiserConfig, TrainConfig, validate
from implicitkit.errors import ConfigError
from implicitkit.losses import Loss, Total
from implicitkit.training.loop import StepBatches, leaves_idle, train
from implicitkit.training.schedule import learning_rate
from oracles import PHOTOS

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}


def config(output: Path, **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "model": {
            "encoder": {"name": "edsr", "blocks": 1, "channels": 8, "res_scale": 1.0},
            "decoder": {"name": "liif", "hidden": [16], "skip": "bilinear"},
        },
        "data": {"folders": [str(PHOTOS)], "patch": 12, "points": 64, "held_out": 1},
        "degradation": {"name": "super_resolution", "scale": [1, 4]},
        "optimiser": {"lr": 1e-3, "schedule": "cosine"},
        "validation": {"every": 1000, "scales": [2], "max_size": 48},
        "output": str(output),
        "steps": 24,
        "batch": 4,
        "log_every": 4,
        "checkpoint_every": 4,
    }
    return {**base, **changes}


def run(settings: dict[str, Any], *, resume: bool = False) -> Path:
    return train(validate(TrainConfig, settings, "test"), resume=resume)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "last.safetensors")


def identical(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_leaves_what_it_promises(tmp_path: Path) -> None:
    folder = run(config(tmp_path / "run", validation={"every": 12, "scales": [2, 3], "max_size": 48}))
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    steps = [e["step"] for e in log if e["event"] == "train"]
    assert steps == list(range(4, 25, 4))
    assert all({"loss", "lr", "crops_per_s", "seconds_left"} <= e.keys() for e in log if e["event"] == "train")
    validations = [e for e in log if e["event"] == "validation"]
    assert [e["step"] for e in validations] == [12, 24] and {"psnr_x2", "psnr_x3"} <= validations[0].keys()
    assert sorted(p.name for p in (folder / "images").iterdir()) == ["step-12.png", "step-24.png"]
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == ["step-20", "step-24"]
    assert list(folder.glob("events.out.tfevents*"))
    assert yaml.safe_load((folder / "config.yaml").read_text())["batch"] == 4
    best = ik.load_model(folder / "best.safetensors")
    assert best.training_summary["validation_psnr_y"].keys() == {"x2", "x3"}
    assert ik.load_model(folder / "last.safetensors").training_summary["steps"] == 24


def test_training_learns(tmp_path: Path) -> None:
    folder = run(config(tmp_path / "run", steps=120, log_every=20, checkpoint_every=1000))
    losses = [
        e["loss"]
        for line in (folder / "log.jsonl").read_text().splitlines()
        if (e := json.loads(line))["event"] == "train"
    ]
    assert losses[-1] < 0.9 * losses[0], losses


def command(settings: dict[str, Any], file: Path, *options: str) -> list[str]:
    file.write_text(yaml.safe_dump(settings))
    return [sys.executable, "-m", "implicitkit", "train", str(file), *options]


def test_killed_at_any_moment_and_resumed_gives_the_same_bits(tmp_path: Path) -> None:
    whole = config(tmp_path / "whole", steps=60)  # as a process of its own: sums depend on the number of threads
    subprocess.run(command(whole, tmp_path / "w.yaml"), env=ENVIRONMENT, check=True, capture_output=True)
    settings = config(tmp_path / "killed", steps=60)
    log, kills = tmp_path / "killed" / "log.jsonl", 0
    for attempt in range(2):
        options = ["--resume"] if attempt else []
        process = subprocess.Popen(
            command(settings, tmp_path / "c.yaml", *options), env=ENVIRONMENT, stderr=subprocess.DEVNULL
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
        command(settings, tmp_path / "c.yaml", "--resume"), env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "resumed at step" in done.stderr
    assert identical(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [e["step"] for e in entries if e["event"] == "train"] == list(range(4, 61, 4))  # no step twice, none lost


def test_workers_change_nothing(tmp_path: Path) -> None:
    settings = config(tmp_path / "a", steps=6)
    with_workers = config(tmp_path / "b", steps=6, data={**settings["data"], "workers": 2})
    assert identical(weights(run(settings)), weights(run(with_workers)))


def test_two_ranks_take_the_same_step_together(tmp_path: Path) -> None:
    """Two real processes share each step's crops; averaged gradients equal those of one process up to rounding."""
    alone = run(config(tmp_path / "alone", steps=8))
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29617", "-m"]
    arguments = command(config(tmp_path / "pair", steps=8), tmp_path / "c.yaml")[2:]
    done = subprocess.run([*launch, *arguments], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, two = weights(alone), weights(tmp_path / "pair")
    assert max((one[k] - two[k]).abs().max().item() for k in one) < 1e-5
    log = (tmp_path / "pair" / "log.jsonl").read_text().splitlines()
    assert len([line for line in log if '"start"' in line]) == 1  # one rank writes


def test_steps_are_shared_out_by_rank() -> None:
    batches = [list(StepBatches(2, 4, 6, rank, 3)) for rank in range(3)]
    assert batches == [[[12, 13], [18, 19]], [[14, 15], [20, 21]], [[16, 17], [22, 23]]]


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    folder = run(config(tmp_path / "run", steps=4))
    before = (folder / "last.safetensors").read_bytes()
    with pytest.raises(ik.UserError, match="already holds a run"):
        run(config(tmp_path / "run", steps=4))
    with pytest.raises(ik.UserError, match="another batch and seed"):
        run(config(tmp_path / "run", steps=4, seed=5, batch=2), resume=True)
    with pytest.raises(ik.UserError, match="no run to resume"):
        run(config(tmp_path / "other"), resume=True)
    assert (folder / "last.safetensors").read_bytes() == before


def test_a_longer_run_may_continue(tmp_path: Path) -> None:
    run(config(tmp_path / "run", steps=4))
    folder = run(config(tmp_path / "run", steps=8), resume=True)
    assert ik.load_model(folder / "last.safetensors").training_summary["steps"] == 8


def test_a_diverging_run_stops_and_can_be_rescued_as_it_says(tmp_path: Path) -> None:
    run(config(tmp_path / "run", steps=4))
    wild = config(tmp_path / "run", optimiser={"lr": 1e30, "schedule": "constant"}, log_every=100, checkpoint_every=2)
    with pytest.raises(ik.UserError, match=r"no longer finite at step 6.*lower optimiser\.lr"):
        run(wild, resume=True)
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-4"]
    with pytest.raises(ik.UserError, match=r"the loss is (nan|inf)"):
        run({**wild, "log_every": 2, "checkpoint_every": 100}, resume=True)
    folder = run(config(tmp_path / "run", steps=8, optimiser={"lr": 1e-4}), resume=True)
    assert all(v.isfinite().all() for v in weights(folder).values())


def test_a_run_killed_before_its_first_file_begins_again(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".deadbeef.part.yaml").write_text("half")
    folder = run(config(tmp_path / "run", steps=2))
    assert not list(folder.glob(".*.part*"))


def test_damaged_checkpoints_say_what_to_do(tmp_path: Path) -> None:
    folder = run(config(tmp_path / "run", steps=8))
    (folder / "checkpoints" / "step-old").mkdir()
    (folder / "checkpoints" / "step-8" / "optimizer.bin").write_bytes(b"damaged")
    with pytest.raises(ik.UserError, match=r"step-8 cannot be read .*delete it to go on from the one before"):
        run(config(tmp_path / "run", steps=8), resume=True)
    shutil.rmtree(folder / "checkpoints" / "step-8")
    run(config(tmp_path / "run", steps=8), resume=True)


def test_bad_validation_pictures_are_found_before_the_first_step(tmp_path: Path) -> None:
    ik.write_image(tmp_path / "v" / "tiny.png", torch.rand(3, 6, 6)) if (tmp_path / "v").mkdir() is None else None
    settings = config(tmp_path / "run", validation={"folders": [str(tmp_path / "v")], "scales": [4]})
    with pytest.raises(ik.DataError, match=r"tiny\.png \(6×6 pixels\) is too small to validate on at scale 4"):
        run(settings)
    (tmp_path / "v" / "tiny.png").write_bytes(b"junk")
    with pytest.raises(ik.ImageError, match=r"tiny\.png"):
        run(settings)
    assert not (tmp_path / "run").exists()


def test_what_does_not_go_together_is_found_before_the_first_step(tmp_path: Path, meaning: None) -> None:
    six = {"encoder": {"name": "edsr", "blocks": 1, "channels": 6}, "decoder": {"name": "bilinear", "project": False}}
    with pytest.raises(
        ValueError, match="L1 compares the model's 6 values per point with a picture's 3; a model whose"
    ):
        run(config(tmp_path / "run", model=six))
    assert not (tmp_path / "run").exists()


def test_what_validates_does_not_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from implicitkit.training import loop as training

    seen = []
    original = training.TrainingCrops
    monkeypatch.setattr(training, "TrainingCrops", lambda files, *rest: seen.extend(files) or original(files, *rest))
    settings = config(tmp_path / "run", steps=1)
    settings["data"]["folders"] *= 2  # the same folder twice
    run(settings)
    assert len(seen) == 2 and len(set(seen)) == 2


def test_schedules() -> None:
    step = OptimiserConfig(lr=1.0)
    assert [learning_rate(s, 10, step) for s in (0, 2, 4, 6, 8)] == [1, 0.5, 0.25, 0.125, 0.0625]
    cosine = OptimiserConfig(lr=1.0, schedule="cosine", warmup=2, final_lr=0.1)
    rates = [learning_rate(s, 12, cosine) for s in range(12)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert math.isclose(rates[7], 0.55) and rates[-1] < 0.13


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
    assert Total([{"name": "l1"}, {"name": "charbonnier"}]).reads == ()
    assert Total([{"name": "l1"}, {"name": "a_tests_meaning"}]).reads is None  # it does not say: all of them
    total = Total([{"name": "l1"}, {"name": "a_tests_meaning"}])
    total.terms["a_tests_meaning"][1].reads = ("semantic",)
    assert total.reads == ("semantic",)


def test_a_part_that_no_loss_reaches_is_not_waited_for(meaning: None, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"name": "edsr", "blocks": 1, "channels": 8}
    semantic = {"encoder": small, "decoder": {"name": "bilinear", "project": True}}
    tinted = ik.create_decoder("a_tests_tinted")
    model = ik.ImplicitModel(ik.create_encoder(small), tinted, {"semantic": ik.create_model(semantic)})
    assert not leaves_idle(model, ())  # the decoder reads it at its points
    monkeypatch.setattr(Tinted, "queried", ())
    assert leaves_idle(model, ()) and not leaves_idle(model, ("semantic",)) and not leaves_idle(model, None)
    outer = ik.ImplicitModel(ik.create_encoder(small), Outer(), {"inner": model})
    assert leaves_idle(outer, ("inner",))
    model.conditions["semantic"].requires_grad_(False)
    assert not leaves_idle(model, ()) and not leaves_idle(outer, ("inner",))


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
    settings = config(
        tmp_path / "second",
        model=model,
        loss=[{"name": "l1", "hole_weight": 2}, {"name": "a_tests_meaning", "weight": 0.5}],
        weights={"conditions": {"semantic": str(first / "best.safetensors")}},
        steps=8,
        batch=2,
    )
    second = run(settings)
    entries = [json.loads(line) for line in (second / "log.jsonl").read_text().splitlines()]
    logged = [e for e in entries if e["event"] == "train"]
    for e in logged:
        assert e["loss"] == pytest.approx(e["loss_l1"] + 0.5 * e["loss_a_tests_meaning"], rel=1e-5)
    before, after = load_file(first / "best.safetensors"), weights(second)
    frozen = {k: v for k, v in after.items() if k.startswith("conditions.semantic.encoder.")}
    assert frozen and all(torch.equal(v, before[k.removeprefix("conditions.semantic.")]) for k, v in frozen.items())
    assert ik.load_model(second / "last.safetensors").conditions["semantic"].encoder.trainable is False
    settings["weights"] = {"conditions": {"meaning": str(first / "best.safetensors")}}
    with pytest.raises(ConfigError, match=r"conditions.meaning: the model has no such part"):
        run({**settings, "output": str(tmp_path / "third")})

"""A plugin that fails while it runs: one line names it and its distribution, exit code 2, and nothing else is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import implicitkit as ik
from implicitkit.registry.failures import explain_fault, find_fault
from implicitkit.registry.kinds import plugins

EVIL = '''
import asyncio
import os

import torch
from torch import nn

import implicitkit as ik
from implicitkit.degradations.noise import Noise
from implicitkit.decoders.local_ensemble import LocalEnsembleDecoder


class Mine(BaseException):
    pass


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no")


def fail():
    kind = os.environ.get("KIND", "")
    if kind == "recursion":
        return fail()
    known = {"mine": Mine, "mute": Mute, "cancelled": asyncio.CancelledError}
    raise known.get(kind) or getattr(__import__("builtins"), kind)("x")


class Decoder(LocalEnsembleDecoder):
    """What the core's own code does with it fails: the shape is wrong."""

    uses_cell = False

    def __init__(self, in_channels: int = 8):
        super().__init__()
        self.in_channels, self.layer = in_channels, nn.Linear(in_channels, 3)

    def prepare(self, features, inputs, conditions):
        return self.to_latent(features, features.map)

    def local(self, rows, offset, cell, point):
        if os.environ.get("KIND") == "shape":
            return self.layer(rows)[1:]
        fail()


class Degradation(Noise):
    def apply(self, image, record):
        if float(image.mean()) > 0.9 or os.environ.get("ALWAYS"):
            fail()
        return super().apply(image, record)


class Metric(ik.Metric):
    unit, higher_is_better = "dB", True

    def __init__(self):
        if os.environ.get("KIND") != "nameless":
            self.name = "evil"

    def __call__(self, prediction, target, mask=None):
        if float(target.mean()) > 0.9 or os.environ.get("ALWAYS"):
            fail()
        return 1.0


class Loss:
    calls = 0

    def __call__(self, prediction, batch):
        self.calls += 1
        if self.calls > int(os.environ.get("AFTER", "0")):
            fail()
        return prediction.values.mean() ** 2


@ik.hookimpl
def register_decoders(register):
    register("evil", Decoder, summary="x")


@ik.hookimpl
def register_degradations(register):
    register("evil", Degradation, summary="x")


@ik.hookimpl
def register_metrics(register):
    register("evil", Metric, summary="x")


@ik.hookimpl
def register_losses(register):
    register("evil", Loss, summary="x")
'''
KINDS = (
    "ZeroDivisionError",
    "KeyError",
    "ValueError",
    "OSError",
    "GeneratorExit",
    "SystemExit",
    "mine",
    "mute",
    "recursion",
    "cancelled",
)
TRAIN = """
model: {encoder: {name: edsr, blocks: 1, channels: 8}, decoder: {name: liif, hidden: [8]}}
data: {folders: [pics], patch: 12, points: 64, workers: 0}
degradation: {name: noise}
output: out
steps: 6
batch: 2
checkpoint_every: 100
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the plugin, and three pictures, of which one is white."""
    (tmp_path / "evil.py").write_text(EVIL)
    (tmp_path / "pics").mkdir()
    for name, level in (("a", 0.2), ("b", 1.0), ("c", 0.4)):
        ik.write_image(tmp_path / "pics" / f"{name}.png", __import__("torch").full((3, 24, 24), level))
    return tmp_path


@pytest.fixture
def evil(place: Path, monkeypatch: pytest.MonkeyPatch):
    """Call the command here, with the plugin loaded."""
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(place)
    sys.modules.pop("evil", None)
    import evil as module

    plugin = ik.register_plugin(module, "evil")
    yield plugin
    ik.unregister_plugin(plugin)
    sys.modules.pop("evil", None)


def check(done, kind: str) -> str:
    """The last line, which names plugin and distribution."""
    assert done.code == 2, done.err
    line = done.err.strip().splitlines()[-1]
    assert line.startswith("error: ") and "evil" in line and "(registered by hand)" in line, done.err
    assert "Traceback" not in done.err
    return line


@pytest.mark.parametrize("kind", KINDS)
def test_any_exception_of_a_metric_or_a_degradation(run, evil, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIND", kind)
    monkeypatch.setenv("ALWAYS", "1")
    check(run("degrade", "pics/a.png", "-o", "a.png", "--spec", "evil"), kind)
    assert not Path("a.png").exists()
    line = check(run("evaluate", "--data", "pics", "--scales", "2", "--metrics", "evil"), kind)
    if kind in ("ZeroDivisionError", "KeyError", "mine"):
        assert line.startswith("error: the plugin evil (registered by hand) failed: ")
        assert line.endswith("; run again with --debug for the traceback") and "(evil.py, line " in line


def test_what_a_plugin_leaves_out(run, evil, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIND", "nameless")
    line = check(run("evaluate", "--data", "pics", "--scales", "2", "--metrics", "evil"), "AttributeError")
    assert "'Metric' object has no attribute 'name' (an attribute of Metric)" in line


@pytest.mark.parametrize("kind", ["GeneratorExit", "KeyError", "SystemExit"])
def test_the_other_pictures_are_not_lost(run, evil, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIND", kind)
    done = run("degrade", "pics", "-o", "out", "--spec", "evil")
    assert done.code == 2 and sorted(file.name for file in Path("out").glob("?.png")) == ["a.png", "c.png"]
    assert "failed: pics/b.png: the plugin evil (registered by hand) failed: " in done.err
    assert done.err.splitlines()[-1] == "error: 1 of 3 pictures failed"
    done = run("evaluate", "--data", "pics", "--scales", "2", "--metrics", "evil", "-o", "s.json")
    assert done.code == 2 and "left out b: the plugin evil (registered by hand) failed: " in done.err
    assert sorted(json.loads(Path("s.json").read_text())["per_picture"]["bicubic"]["2"]["evil"]) == ["a", "c"]


@pytest.mark.parametrize("kind", [*KINDS, "shape"])
def test_any_exception_of_a_decoder(run, evil, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIND", kind)
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 8}, "decoder": "evil"})
    model.save("m.safetensors")
    check(run("upscale", "pics/a.png", "--model", "m.safetensors", "-o", "o.png"), kind)
    assert not Path("o.png").exists()


@pytest.mark.parametrize("kind", ["ZeroDivisionError", "GeneratorExit", "ValueError"])
def test_a_loss_that_fails_at_once_or_later(run, evil, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once: nothing is left. Later: the steps that were done are kept, and the run is resumed."""
    Path("c.yaml").write_text(TRAIN + "loss: {name: evil}\n")
    monkeypatch.setenv("KIND", kind)
    check(run("train", "c.yaml"), kind)
    assert not Path("out").exists()
    monkeypatch.setenv("AFTER", "4")  # the trial, and three steps
    check(run("train", "c.yaml"), kind)
    assert [folder.name for folder in Path("out/checkpoints").iterdir()] == ["step-3"]
    monkeypatch.setenv("AFTER", "100")
    resumed = run("train", "c.yaml", "--resume")
    assert resumed.code == 0 and "resumed at step 3" in resumed.err


def test_debug_shows_the_traceback(run, evil, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIND", "KeyError")
    for words in (("pics/b.png", "-o", "b.png"), ("pics", "-o", "out")):
        done = run("degrade", *words, "--spec", "evil", "--debug")
        assert done.code == 2 and "Traceback" in done.err and "raise known.get(kind)" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["KeyError", "SystemExit"])
def test_in_a_worker_process(place: Path, kind: str) -> None:
    (place / "c.yaml").write_text(TRAIN.replace("workers: 0", "workers: 1").replace("name: noise", "name: evil"))
    (place / "pics" / "b.png").unlink()  # what is left does not fail where the run is checked
    words = [sys.executable, "-m", "implicitkit", "train", "c.yaml"]
    source = EVIL.replace('os.environ.get("ALWAYS")', '__import__("torch").utils.data.get_worker_info() is not None')
    (place / "evil.py").write_text(source)
    own = {"IMPLICITKIT_PLUGINS": "none,evil", "KIND": kind, "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(words, cwd=place, env={**os.environ, **own}, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("error: the plugin evil (no distribution) failed: ") and f"{kind}: " in line
    assert "(evil.py, line " in line and "Traceback" not in done.stderr


def test_whose_fault_it_is(evil) -> None:
    import evil as module

    def caught(call) -> BaseException:
        try:
            call()
        except BaseException as error:
            return error
        raise AssertionError

    os.environ.pop("KIND", None)
    raised = caught(module.fail)
    fault = find_fault(raised, plugins)
    assert fault is not None and fault.plugin is evil and fault.place.startswith("evil.py, line ")
    assert find_fault(caught(lambda: 1 / 0), plugins) is None
    assert explain_fault(ik.UserError("mine"), plugins) is None

    def core() -> None:
        try:
            module.fail()
        except AttributeError as error:
            raise ik.UserError("the core's words") from error

    assert (explain_fault(caught(core), plugins) or "").startswith("the core's words (from the plugin evil")

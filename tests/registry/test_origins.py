"""A saved model names the distributions that its parts come from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import implicitkit as ik
from implicitkit.registry.origins import by_hand, missing, origins_of
from implicitkit.registry.plugins import VARIABLE
from implicitkit.registry.scaffold import new_plugin
from implicitkit.weights.native import read_metadata, read_native
from oracles import ROOT

ENCODER = {"name": "edsr", "blocks": 1, "channels": 8}


class Theirs:
    @ik.hookimpl
    def register_decoders(self, register):
        register("a_tests_wave", "implicitkit.decoders.liif:LIIF", summary="a test's")


@pytest.fixture
def theirs() -> Iterator[None]:
    plugin = ik.register_plugin(Theirs())
    yield
    if "a_tests_wave" in ik.list_decoders():
        ik.unregister_plugin(plugin)


def test_parts_of_others_are_found_in_conditions_too(theirs) -> None:
    own = {"encoder": "edsr", "decoder": "liif"}
    assert origins_of(own) == {}
    within = {**own, "conditions": {"meaning": {"encoder": ENCODER, "decoder": {"name": "a_tests_wave"}}}}
    assert list(origins_of(within)) == ["decoder a_tests_wave"]
    assert origins_of({**own, "neck": ["thera_plus", "thera_pro"]}) == {}


def test_what_was_registered_by_hand_is_found_anywhere_in_a_configuration(theirs) -> None:
    part = {"name": "a_tests_wave"}
    assert by_hand({"model": {"decoder": "liif"}, "output": "a_tests_wave", "loss": ["l1"]}) == []
    for config in ({"model": {"decoder": part}}, {"loss": ["l1", "a_tests_wave"]}, {"first": {"model": [part]}}):
        assert by_hand(config) == ["decoder 'a_tests_wave'"]


def test_a_file_says_what_is_missing(theirs, tmp_path: Path) -> None:
    model = ik.create_model({"encoder": ENCODER, "decoder": {"name": "a_tests_wave", "hidden": [8]}})
    file = model.save(tmp_path / "wave.safetensors")
    assert list(read_native(file).origins) == ["decoder a_tests_wave"]
    assert torch.equal(next(ik.load_model(file).parameters()), next(model.parameters()))
    assert "origins" not in read_metadata(ik.load_model("liif_small").save(tmp_path / "own.safetensors"))
    assert missing(read_native(file).origins) == ""
    gone = {"decoder gone": "implicitkit-gone 2.0", "encoder lost": "implicitkit-gone 2.0", "decoder liif": "x 1"}
    assert missing(gone) == (
        "its decoder 'gone' and encoder 'lost' come from implicitkit-gone 2.0, which is not here: "
        "pip install implicitkit-gone"
    )
    assert missing({"decoder gone": "my_stuff (no distribution)"}).endswith(
        "comes from the module my_stuff, which is not here: add it (or my_stuff:OBJECT) to IMPLICITKIT_PLUGINS, and "
        "its folder to PYTHONPATH"
    )
    assert "by hand in the running program; register" in missing(
        {"decoder gone": "the running program (no distribution)"}
    )
    assert "was registered by hand in notebook_module; register it before" in missing(
        {"decoder gone": "notebook_module (registered by hand)"}
    )


@pytest.mark.slow
def test_a_model_of_a_plugin_that_is_not_here_says_what_to_install(tmp_path: Path) -> None:
    project = new_plugin("wave", tmp_path)
    site = tmp_path / "site"
    (site / "implicitkit_wave-0.1.0.dist-info").mkdir(parents=True)
    (site / "implicitkit_wave-0.1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: implicitkit-wave\nVersion: 0.1.0\n"
    )
    (site / "implicitkit_wave-0.1.0.dist-info" / "entry_points.txt").write_text(
        "[implicitkit]\nwave = implicitkit_wave\n"
    )
    (project / "implicitkit_wave").rename(site / "implicitkit_wave")
    environment = {**os.environ, "PYTHONPATH": f"{site}:{ROOT}", VARIABLE: ""}
    spec = {"encoder": ENCODER, "decoder": {"name": "wave", "hidden": 8}}
    script = f"import implicitkit as ik, json; ik.create_model({json.dumps(spec)}).save('wave.safetensors')"
    subprocess.run([sys.executable, "-c", script], env=environment, cwd=tmp_path, check=True, timeout=120)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: "none"}
    command = [sys.executable, "-m", "implicitkit", "info", "wave.safetensors"]
    ran = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 2 and len(ran.stderr.splitlines()) == 1
    assert ran.stderr.startswith(
        "error: wave.safetensors: its decoder 'wave' comes from implicitkit-wave 0.1.0, which is not here: pip install "
        "implicitkit-wave (model.decoder: unknown decoder 'wave'"
    )

"""``implicitkit plugins new`` writes a project that installs as a distribution of its own and passes its tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from implicitkit.errors import UserError
from implicitkit.registry.plugins import VARIABLE
from implicitkit.registry.registry import article
from implicitkit.registry.scaffold import PARTS, new_plugin
from oracles import ROOT


def files(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): p.read_text(encoding="utf-8")
        for p in folder.rglob("*")
        if p.is_file() and "__pycache__" not in p.parts and p.suffix in (".py", ".md", ".toml")
    }


def test_the_example_in_the_repository_is_what_the_command_writes(tmp_path: Path) -> None:
    assert files(new_plugin("example", tmp_path)) == files(ROOT / "plugins" / "example")


@pytest.mark.slow
def test_a_new_plugin_installs_and_passes_its_tests(tmp_path: Path) -> None:
    project = new_plugin("sine-wave", tmp_path)
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--target", str(site), str(project)], check=True, timeout=120)
    environment = {**os.environ, "PYTHONPATH": str(site), VARIABLE: ""}

    def run(*arguments: str) -> str:
        ran = subprocess.run(
            [sys.executable, "-m", *arguments], env=environment, cwd=project, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    assert "3 passed" in run("pytest", "-p", "no:cacheprovider")
    (row,) = [r for r in json.loads(run("implicitkit", "plugins", "--json")) if r["name"] == "sine_wave"]
    assert row["distribution"] == "implicitkit-sine-wave" and row["version"] == "0.1.0"
    assert row["provides"] == {"decoder": ["sine_wave"]} and row["error"] is None
    assert "[implicitkit-sine-wave 0.1.0]" in run("implicitkit", "list", "decoders")


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(PARTS))
def test_the_part_of_every_kind_passes_its_tests(tmp_path: Path, kind: str) -> None:
    project = new_plugin("sine-wave", tmp_path, kind)
    written = files(project)
    assert f"implicitkit_sine_wave/{kind}.py" in written and not any(
        "@" in text.replace("@ik", "") for text in written.values()
    )
    environment = {**os.environ, "PYTHONPATH": f"{project}:{ROOT}", VARIABLE: "none,implicitkit_sine_wave"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(project)]
    ran = subprocess.run(command, env=environment, cwd=project, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0 and "3 passed" in ran.stdout, ran.stdout + ran.stderr
    listed = [sys.executable, "-m", "implicitkit", "info", "sine_wave"]
    said = subprocess.run(listed, env=environment, capture_output=True, text=True).stdout
    assert said.startswith(f"sine_wave is {article(kind)} of ") and PARTS[kind][0] in said


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Bad name", "received 'Bad name'"),
        ("1st", "received '1st'"),
        ("", "received ''"),
        ("liif", "'liif' is already registered by implicitkit"),
    ],
)
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        new_plugin(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_names_are_taken_by_kind_and_kinds_are_known(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a metric called 'psnr' is already registered by implicitkit"):
        new_plugin("psnr", tmp_path, "metric")
    with pytest.raises(UserError, match="one of decoder, .*, metric, dataset, callback; received 'protocol'"):
        new_plugin("mine", tmp_path, "protocol")
    assert new_plugin("liif", tmp_path, "encoder").name == "implicitkit-liif"  # another kind


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "implicitkit-wave").mkdir()
    with pytest.raises(UserError, match="exists already"):
        new_plugin("wave", tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        new_plugin("wave", tmp_path / "missing")

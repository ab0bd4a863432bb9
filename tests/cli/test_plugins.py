"""Plugins as the command line shows them, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from implicitkit.registry.plugins import STRICT_VARIABLE, VARIABLE

PLUGINS = {
    "greeter": """
import implicitkit as ik, typer

@ik.hookimpl
def register_commands(app):
    @app.command()
    def say_hello(name: str = "you"):
        typer.echo(f"hello {name}")
""",
    "broken": "import not_installed_anywhere",
    "usurper": """
import implicitkit as ik

@ik.hookimpl
def register_commands(app):
    app.command("train")(lambda: None)
""",
}


@pytest.fixture
def implicitkit(tmp_path: Path):
    for name, source in PLUGINS.items():
        (tmp_path / f"{name}.py").write_text(source)

    def call(*arguments: str, plugins: str, **environment: str) -> subprocess.CompletedProcess[str]:
        everything = {**os.environ, "PYTHONPATH": str(tmp_path), VARIABLE: plugins, **environment}
        return subprocess.run(
            [sys.executable, "-m", "implicitkit", *arguments], env=everything, capture_output=True, text=True
        )

    return call


def test_a_broken_plugin_is_listed_with_its_reason(implicitkit) -> None:
    ran = implicitkit("plugins", plugins="none,broken,greeter")
    assert ran.returncode == 0
    assert "FAILED, nothing of it is registered: ModuleNotFoundError: No module named 'not_installed_anywhere'" in (
        ran.stdout
    )
    assert "command:     say-hello" in ran.stdout
    assert ran.stderr.splitlines() == [
        "warning: plugin broken (no distribution) failed to load: ModuleNotFoundError: No module named "
        "'not_installed_anywhere'"
    ]
    rows = json.loads(implicitkit("plugins", "--json", plugins="none,broken,greeter").stdout)
    assert [row["name"] for row in rows] == ["implicitkit", "broken", "greeter"]
    assert "Traceback" in implicitkit("plugins", "--traceback", plugins="none,broken").stdout


@pytest.mark.slow
def test_a_plugin_brings_a_command(implicitkit) -> None:
    assert implicitkit("say-hello", "--name", "world", plugins="none,greeter").stdout == "hello world\n"
    assert "say-hello" in implicitkit("--help", plugins="none,greeter").stdout


@pytest.mark.slow
def test_a_command_that_is_taken_is_left_out_naming_both(implicitkit) -> None:
    ran = implicitkit("--help", plugins="none,usurper")
    assert "command 'train' of usurper (no distribution) is already registered by implicitkit" in ran.stderr


@pytest.mark.slow
def test_strict_mode_stops(implicitkit) -> None:
    ran = implicitkit("list", plugins="none,broken", **{STRICT_VARIABLE: "1"})
    assert ran.returncode == 2 and ran.stdout == ""
    assert len(ran.stderr.splitlines()) == 1 and "not_installed_anywhere" in ran.stderr
    listed = implicitkit("plugins", plugins="none,broken", **{STRICT_VARIABLE: "1"})
    assert listed.returncode == 2 and "FAILED, nothing of it is registered" in listed.stdout
    assert implicitkit("list", plugins="none,broken", **{STRICT_VARIABLE: "false"}).returncode == 0


@pytest.mark.slow
def test_an_unknown_name_mentions_what_failed(implicitkit) -> None:
    ran = implicitkit("info", "theirs", plugins="none,broken")
    assert ran.returncode == 2
    assert "plugins that failed to load: broken (no distribution) (ModuleNotFoundError" in ran.stderr

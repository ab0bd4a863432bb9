"""The README, the page and the example say what is so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import implicitkit as ik
from implicitkit.cli.main import app
from implicitkit.registry.kinds import plugins
from implicitkit.registry.plugins import command_names
from implicitkit_sair.cli import add_to

PLUGIN = Path(__file__).parent.parent
ROOT = PLUGIN.parent.parent
README, PAGE = PLUGIN / "README.md", ROOT / "docs" / "sair.md"


@pytest.mark.parametrize("page", [README, PAGE], ids=["README", "sair"])
def test_the_examples_of_a_page_run(page: Path) -> None:
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, page.name, "exec"), names)


def test_every_name_and_command_is_in_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    ik.list_models()  # loads the plugins
    (ours,) = (plugin for plugin in plugins.loaded if plugin.name == "implicitkit_sair")
    registered = [name for kind, names in ours.provides.items() if kind != "command" for name in names]
    assert len(registered) >= 11 and all(f"`{name}`" in text for name in registered)
    added = typer.Typer()
    add_to(added)
    for name in command_names(added):
        assert f"implicitkit {name} " in text


@pytest.mark.parametrize("page", [README, PAGE], ids=["README", "sair"])
def test_commands_options_and_links_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    added = typer.Typer()
    add_to(added)
    known = {*command_names(app), *command_names(added)}
    for line in re.findall(r"^implicitkit .*$", text, flags=re.MULTILINE):
        name = line.split()[1]
        assert name in known, line
        group = typer.main.get_command(added)
        if name in group.commands:
            options = {option for p in group.commands[name].params for option in p.opts}
            assert set(re.findall(r" (--?[a-z][\w-]*)", line.partition("#")[0])) <= options, line
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("https://") or (page.parent / link).exists(), link
    for config in re.findall(r"(?:plugins/sair/)?configs/(\w+\.yaml)", text):
        assert (PLUGIN / "configs" / config).is_file()


def test_the_example(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, str(PLUGIN / "examples" / "inpaint_with_sair.py"), "--steps", "12"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PLUGIN), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    losses = [float(x) for x in re.findall(r"colour ([\d.]+)", ran.stdout)]
    holed, painted = (float(x) for x in re.findall(r": ([\d.]+) dB in the hole", ran.stdout))
    assert losses[-1] < losses[0] and painted > holed
    assert {p.name for p in tmp_path.iterdir()} == {"painted.png", "meaning.png"}

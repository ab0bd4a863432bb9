"""The plan of the plugin: its rooms, which may import which, and what it imports of implicitkit."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path

import typer

import implicitkit_sair
from implicitkit.cli import Outputs
from implicitkit_sair.cli import add_to

PACKAGE = Path(implicitkit_sair.__file__).parent
PAGE = Path(__file__).parents[3] / "docs" / "plugins.md"
ORDER = (  # what stands further up may import what stands further down, never the other way round
    ("cli", "app"),
    ("editing",),
    ("training", "inpainting", "segmentation"),
    ("decoders",),
    ("semantic",),
    ("appearance", "models"),
)
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
ROOM_FILES, CORE_MODULES, PARAMETERS = 13, 16, 13
ALTERNATIVES = ({"fit", "stretch"},)  # one choice, read as one
TABLE = {field.name for field in dataclasses.fields(Outputs)}  # of all commands that write pictures


def imports_of(file: Path) -> set[str]:
    """The modules that ``file`` imports from, wherever in it, type hints counted."""
    modules = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module and node.level == 0, f"{file} has a relative import"
            modules.add(node.module)
            if node.module == "implicitkit_sair.cli":
                modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_room_has_a_place_in_the_order() -> None:
    assert {room_of(file) for file in PACKAGE.rglob("*.py")} - {"__init__"} == set(LEVEL)


def test_no_arrow_runs_back_up_nor_to_the_side() -> None:
    wrong = []
    for file in PACKAGE.rglob("*.py"):
        room = room_of(file)
        others = {name.split(".")[1] for name in imports_of(file) if name.startswith("implicitkit_sair.")}
        wrong += [
            f"{file.relative_to(PACKAGE)} -> {other}"
            for other in others - {room}
            if room != "__init__" and LEVEL[room] >= LEVEL[other]
        ]
    assert not wrong


def test_the_rooms_are_small() -> None:
    for room in {file.parent for file in PACKAGE.rglob("*.py")}:
        files = [file.name for file in room.glob("*.py") if file.name != "__init__.py"]
        assert len(files) <= ROOM_FILES, (room, files)


def test_only_what_the_page_on_plugins_lists_is_imported() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## What a plugin may import")[2].partition("\n## ")[0]
    listed = set(re.findall(r"^\| `(implicitkit\.[a-z.]+)` \|", section, flags=re.MULTILINE))
    files = [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "examples").glob("*.py")]
    used = {name for file in files for name in imports_of(file) if name.startswith("implicitkit.")}
    assert used <= listed, f"not public: {sorted(used - listed)}"
    assert 0 < len(used) <= CORE_MODULES


def test_the_modules_that_the_page_lists_have_the_names_it_gives() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## What a plugin may import")[2].partition("\n## ")[0]
    for module, names in re.findall(r"^\| `(implicitkit\.[a-z.]+)` \| (.*) \|$", section, flags=re.MULTILINE):
        loaded = __import__(module, fromlist=["any"])
        assert all(getattr(loaded, name, None) is not None for name in re.findall(r"`(\w\w\w+)`", names)), module


def test_the_commands_have_few_parameters() -> None:
    app = typer.Typer()
    add_to(app)
    for name, command in typer.main.get_command(app).commands.items():
        parameters = {p.name for p in command.params} - {"help"}
        choices = sum(max(len(parameters & group) - 1, 0) for group in (*ALTERNATIVES, TABLE))
        assert len(parameters) - choices <= PARAMETERS, name

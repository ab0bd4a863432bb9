"""The plan of the house: which room may import which, type hints and imports inside functions counted."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import implicitkit
from implicitkit.registry.commands import COMMANDS

PACKAGE = Path(implicitkit.__file__).parent
ORDER = (  # what stands further up may import what stands further down, never the other way round
    ("__main__",),
    ("cli",),
    ("viewer",),
    ("comparison",),
    ("testing",),
    ("app",),
    ("training",),
    ("evaluation", "export", "upscaling"),
    ("create",),
    ("losses",),
    ("model",),
    ("compatibility",),
    ("field",),
    ("kernels",),
    ("decoders",),
    ("necks",),
    ("encoders",),
    ("metrics",),
    ("degradations",),
    ("weights",),
    ("datasets",),
    ("video",),
    ("images",),
    ("config",),
    ("registry",),
    ("hookspecs",),
    ("coordinates",),
    ("devices",),
    ("files",),
    ("nested",),
    ("printing",),
    ("errors",),
    ("version",),
)
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
ROOT_MODULES, ROOM_FILES = 13, 13
MAX_LINES, MAX_PARAMETERS = 350, 12  # of a file, of a command
STILL_LONG: dict[str, int] = {}
ONE_PAGE = {"decoders/liif.py": 95, "decoders/lte.py": 110}  # the decoders that everybody reads first
TESTS = Path(__file__).parent
WITHOUT_TWIN = {  # modules that nothing in particular tests
    "__main__.py": "one call, which cli/test_main.py makes",
    "registry/commands.py": "a table, which cli/test_main.py compares with the command",
    "version.py": "a constant",
    "weights/checkpoint.py": "fields alone, which weights/test_native.py and weights/layouts/test_encoders.py fill",
}
WITHOUT_MODULE = {  # tests of what is no module of the package
    "comparison/test_pages.py": "the pages on comparisons, and the configurations in them",
    "field/test_conditions.py": "fields that read other models' fields",
    "kernels/test_threads.py": "threads.h",
    "images/test_results.py": "results of earlier runs are no inputs, of all commands",
    "test_architecture.py": "the package as a whole",
    "test_docs.py": "README and docs",
    "test_examples.py": "examples/",
    "test_fuzz.py": "the command line, under damaged and strange input",
    "test_public_names.py": "what the package promises",
    "test_site.py": "mkdocs.yml and what it builds",
    "viewer/test_page.py": "the page, in a browser",
}


def room_of(file: Path) -> str:
    """The first folder of the package that ``file`` is in, or the module's own name."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(file: Path) -> set[str]:
    """The rooms of the package that ``file`` imports, wherever in it."""
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        rooms |= {name.split(".")[1] for name in names if name.startswith("implicitkit.")}
    return {room for room in rooms if room in LEVEL}  # else a public name of the package itself


def arrows() -> dict[tuple[str, str], set[str]]:
    """(from, to) -> the files that draw the arrow."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for file in PACKAGE.rglob("*.py"):
        room = room_of(file)
        for other in imports_of(file) - {room}:
            if room != "__init__":
                found[room, other].add(str(file.relative_to(PACKAGE)))
    return found


def test_every_room_has_a_place_in_the_order() -> None:
    rooms = {room_of(file) for file in PACKAGE.rglob("*.py")}
    assert rooms - {"__init__"} == set(LEVEL)


def test_no_arrow_runs_back_up() -> None:
    upwards = {f"{a} -> {b}": sorted(files) for (a, b), files in arrows().items() if LEVEL[a] >= LEVEL[b]}
    assert not upwards


def test_the_root_and_the_rooms_are_small() -> None:
    assert len(list(PACKAGE.glob("*.py"))) - 1 <= ROOT_MODULES  # __init__ apart
    for room in {file.parent for file in PACKAGE.rglob("*.py")} - {PACKAGE}:
        files = [file for file in room.glob("*.py") if file.name != "__init__.py"]
        assert len(files) <= ROOM_FILES, room


def test_every_module_has_its_tests_beside_it() -> None:
    modules = {str(file.relative_to(PACKAGE)) for file in PACKAGE.rglob("*.py") if file.name != "__init__.py"}
    files = {str(file.relative_to(TESTS)) for file in TESTS.rglob("test_*.py")}
    tested = {str(Path(file).with_name(Path(file).name.removeprefix("test_"))): file for file in files}
    benchmarks = {file for file in files if file.startswith("benchmarks/")}  # of the folder of that name
    assert modules - set(tested) == set(WITHOUT_TWIN)
    assert {file for module, file in tested.items() if module not in modules} - benchmarks == set(WITHOUT_MODULE)


def test_files_are_short() -> None:
    for file in PACKAGE.rglob("*.py"):
        name, lines = str(file.relative_to(PACKAGE)), len(file.read_text(encoding="utf-8").splitlines())
        assert lines <= ONE_PAGE.get(name, STILL_LONG.get(name, MAX_LINES)), f"{name} has {lines} lines"


def test_commands_have_few_parameters() -> None:
    for module in COMMANDS.values():
        file = PACKAGE.joinpath(*module.partition(":")[0].split(".")[1:]).with_suffix(".py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                count = len(node.args.args) + len(node.args.kwonlyargs)
                assert count <= MAX_PARAMETERS, f"{node.name} of {file.name} has {count} parameters"

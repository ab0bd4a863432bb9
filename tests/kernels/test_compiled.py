"""How the CPU kernel comes to be: compiled once, kept, tried; and what happens where one of these fails."""

from __future__ import annotations

import ctypes
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from implicitkit.errors import UserError
from implicitkit.files import cache_folder
from implicitkit.kernels import compiled, cpu
from oracles.kernel import SETS, both, fresh, needs_compiler
from oracles.models import made

pytestmark = needs_compiler


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def number_of_kernels() -> int:
    """In a new process: one that has a library open never opens it again."""
    asks = [sys.executable, "-c", "from implicitkit.kernels import cpu; print(len(cpu.kernels()))"]
    return int(subprocess.run(asks, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
def test_it_is_compiled_once_and_kept(anew: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    counted = tmp_path / "calls"
    monkeypatch.setenv("CC", str(script(tmp_path / "counting-cc", f'echo once >> {counted}; exec cc "$@"')))
    whole = number_of_kernels()
    assert whole and [p.suffix for p in anew.iterdir()] == [".so"]
    assert number_of_kernels() == whole and counted.read_text() == "once\n"
    (library,) = anew.iterdir()
    content = library.read_bytes()
    for calls, damaged in ((2, content[:5000]), (3, b"?" * len(content))):
        library.write_bytes(damaged)
        assert number_of_kernels() == whole and counted.read_text() == "once\n" * calls
        assert library.read_bytes() == content
    monkeypatch.setenv("CC", f"{tmp_path / 'counting-cc'} -DOTHER")  # may make something else of it
    assert number_of_kernels() == whole and len(list(anew.iterdir())) == 2


BROKEN = {
    "fails after writing": 'while [ "$1" != -o ]; do shift; done; echo half > "$2"; kill -9 $$',
    "writes nonsense": 'while [ "$1" != -o ]; do shift; done; echo nonsense > "$2"',
    "writes nothing": "true",
    "makes another library": 'while [ "$1" != -o ]; do shift; done; echo "int other;" | cc -shared -xc - -o "$2"',
    "waits": "sleep 60",
}


@pytest.mark.parametrize("compiler", ["/nowhere/cc", "false", 'cc "', *BROKEN])
def test_without_a_working_compiler_the_plain_path_serves(
    compiler: str, anew: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(compiled, "COMPILE_TIMEOUT_S", 0.5 if compiler == "waits" else 60.0)
    if compiler in BROKEN:
        compiler = str(script(tmp_path / "cc", BROKEN[compiler]))
    monkeypatch.setenv("CC", compiler)
    model, picture = made("liif", "paper"), torch.rand(3, 5, 5)
    for _ in range(2):
        expected, found = both(lambda: model.encode(picture).render((9, 9)))
        assert torch.equal(found, expected) and not ran and not cpu.kernels()
    assert cpu.describe() == "no CPU kernel"


def test_without_its_source_the_plain_path_serves(anew: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cpu, "SOURCE", tmp_path / "nowhere.c")
    assert not cpu.kernels()


def test_a_cache_folder_that_cannot_be_written_costs_the_keeping_alone(
    anew: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("IMPLICITKIT_CACHE", str(tmp_path / "a file"))
    assert cpu.kernels() and (tmp_path / "a file").read_text() == ""


@pytest.mark.slow
def test_nothing_is_loaded_from_where_others_can_write(anew: Path) -> None:
    anew.mkdir(parents=True)
    anew.chmod(0o777)
    assert cpu.kernels() and not list(anew.iterdir())


@pytest.mark.slow
def test_without_a_home_folder_it_is_made_for_the_process(monkeypatch: pytest.MonkeyPatch, anew: Path) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cpu.kernels() and list(anew.iterdir())  # the variable says where
    monkeypatch.delenv("IMPLICITKIT_CACHE")
    fresh()
    assert cpu.kernels()
    with pytest.raises(UserError, match="set IMPLICITKIT_CACHE"):
        cache_folder()


@pytest.mark.slow
def test_what_lies_where_nothing_may_be_executed_is_loaded_from_elsewhere(
    anew: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As on a cache folder that is mounted noexec."""
    counted, load = tmp_path / "calls", ctypes.CDLL

    def elsewhere(name: str) -> ctypes.CDLL:
        if name.startswith(str(anew)):
            raise OSError("failed to map segment from shared object")
        return load(name)

    monkeypatch.setenv("CC", str(script(tmp_path / "counting-cc", f'echo once >> {counted}; exec cc "$@"')))
    monkeypatch.setattr(ctypes, "CDLL", elsewhere)
    for _ in range(3):
        fresh()
        assert cpu.kernels()
    assert counted.read_text() == "once\n"


@pytest.fixture(scope="module")
def whole() -> set[torch.dtype]:
    """The kernels that there are here."""
    return set(cpu.kernels())


@pytest.mark.parametrize(
    "change",
    [("0.5f) * r2", "0.4f) * r2"), ("relu((vec)acc[r][v + 1])", "relu((vec)acc[r][v])"), ("relu(moved)", "moved")],
)
def test_what_computes_something_else_is_not_used(
    change: tuple[str, str], whole: set[torch.dtype], anew: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    texts = {file.name: file.read_text() for file in (cpu.SOURCE, *compiled.HEADERS)}
    assert sum(change[0] in text for text in texts.values()) == 1
    for name, text in texts.items():
        (tmp_path / name).write_text(text.replace(*change))
    monkeypatch.setattr(cpu, "SOURCE", tmp_path / cpu.SOURCE.name)
    monkeypatch.setattr(compiled, "HEADERS", tuple(tmp_path / path.name for path in compiled.HEADERS))
    bad = {torch.bfloat16} if "v + 1" in change[0] else {torch.float32, torch.bfloat16}
    assert set(cpu.kernels()) == whole - bad


@pytest.mark.slow
def test_processes_that_compile_at_the_same_time(anew: Path) -> None:
    asks = "from implicitkit.kernels import cpu; print(len(cpu.kernels()))"
    running = [subprocess.Popen([sys.executable, "-c", asks], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {process.communicate()[0].strip() for process in running}
    assert said == {str(len(cpu.kernels()))} and len(list(anew.iterdir())) == 1


@pytest.mark.slow
def test_it_compiles_without_a_warning() -> None:
    compiler = compiled.find_compiler()
    assert compiler is not None
    for flags in SETS.values():
        command = [
            *compiler,
            *compiled.COMPILER_FLAGS,
            *flags,
            "-Wall",
            "-Wextra",
            "-Werror",
            str(cpu.SOURCE),
            "-o",
            os.devnull,
        ]
        done = subprocess.run([*command, *compiled.LIBRARIES], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

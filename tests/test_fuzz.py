"""The command line under damaged and strange input: it does the work, or refuses in one line and leaves nothing.

Each case is drawn from its number and a seed alone. ``IMPLICITKIT_FUZZ_SEED=7`` draws others, ``IMPLICITKIT_FUZZ_CASES``
says how many of each kind; a failure prints kind, number and seed.
"""

from __future__ import annotations

import logging
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import yaml

from corpus import damage, files
from corpus.faults import FAULTS
from implicitkit.cli.main import main

SEED = int(os.environ.get("IMPLICITKIT_FUZZ_SEED", "1"))
CASES = int(os.environ.get("IMPLICITKIT_FUZZ_CASES", "64"))  # of each of the five kinds
FEW_CASES = min(CASES, 12)  # in the quick suite
MAX_SECONDS, MAX_BYTES = 20, 2 << 30
OURS = (
    "error: ",
    "note: ",
    "warning: ",
    "failed: ",
    "training ",
    "evaluating ",
    "upscaling ",
    "degrading ",
    "validating ",
)  # how the lines on stderr may begin


class Ran(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str
    seconds: float
    new: list[str]


class TooLong(KeyboardInterrupt):
    """A case that does not end."""


class Workplace:
    """A folder with whole files, in which commands run one after the other in this process."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capture = folder, capture
        self.pictures, self.weights = files.pictures(), files.weights(folder)
        (folder / "pictures").mkdir()
        self.memory = _peak()

    def furnish(self) -> None:
        """Write the whole files that commands may name, as the case before may have replaced them."""
        for name, content in self.weights.items():
            (self.folder / name).write_bytes(content)
        (self.folder / "rgb.png").write_bytes(self.pictures["rgb.png"])
        (self.folder / "pictures" / "a.png").write_bytes(files.large_picture())
        (self.folder / "config.yaml").write_bytes(yaml.safe_dump(files.CONFIG).encode())

    def listing(self) -> set[str]:
        """All that is in the folder, and in that for temporary files, which is inside."""
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*")}

    def run(self, *words: str) -> Ran:
        """Run one command; what it made is listed, and removed again."""
        before, started = self.listing(), time.perf_counter()
        self.capture.readouterr()
        sys.argv = ["implicitkit", *words]
        signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
        try:
            main()
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        seconds = time.perf_counter() - started
        out, err = self.capture.readouterr()
        new = sorted(self.listing() - before)
        for path in reversed(new):
            place = self.folder / path
            place.rmdir() if place.is_dir() and not place.is_symlink() else place.unlink()
        return Ran(code, out, err, seconds, new)

    def faults(self, ran: Ran, made: str = "") -> list[str]:
        """What is wrong with how a command ended."""
        lines = ran.err.splitlines()
        found = {
            f"exit code {ran.code}": ran.code not in (0, 2),
            f"{ran.seconds:.0f} s": ran.seconds > MAX_SECONDS,
            f"{(_peak() - self.memory) / 1e9:.1f} GB more": _peak() - self.memory > MAX_BYTES,
            "a traceback": "Traceback" in ran.err + ran.out,
            "control characters": any(not c.isprintable() and c not in "\n\t" for c in ran.err + ran.out),
            "not one error line": sum(line.startswith("error: ") for line in lines) != (ran.code == 2),
            "another's line": "train" not in sys.argv and not all(line.startswith(OURS) for line in lines),
            "lines of a run that was refused": ran.code == 2 and "train" in sys.argv and len(lines) > 3,
            f"left {ran.new}": ran.code == 2 and bool(ran.new),
            f"half a file: {ran.new}": any(
                ".part" in name or (name.startswith("tmp/") and "inductor" not in name) for name in ran.new
            ),
            "a message of pages": any(len(line) > 2000 for line in lines),
        }
        return [name for name, wrong in found.items() if wrong]


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _stop(*_: object) -> None:
    raise TooLong(f"no answer in {MAX_SECONDS} s")


@pytest.fixture
def workplace(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Workplace]:
    folder = tmp_path_factory.mktemp("fuzz")
    place = Workplace(folder, capfd)
    (folder / "tmp").mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "tmp"))
    monkeypatch.setenv("IMPLICITKIT_KERNELS", "0")  # compiling takes longer than a hundred cases
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("IMPLICITKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(sys, "argv", [])
    before = signal.signal(signal.SIGALRM, _stop), warnings.showwarning, threading.excepthook, torch.get_num_threads()
    quiet = logging.getLogger().handlers[:]
    logging.getLogger().handlers[:] = []  # pytest's own: what is logged would reach a user's terminal
    with warnings.catch_warnings():
        warnings.resetwarnings()
        yield place
    logging.getLogger().handlers[:] = quiet
    signal.signal(signal.SIGALRM, before[0])
    warnings.showwarning, threading.excepthook = before[1:3]
    torch.set_num_threads(before[3])


def case(kind: str, number: int, place: Workplace) -> list[str]:
    """Write a case's files and return its command."""
    draw = random.Random(f"{kind} {number} {SEED}")
    place.furnish()
    if kind == "pictures":
        name = draw.choice(list(place.pictures))
        (place.folder / name).write_bytes(damage.picture(place.pictures[name], draw))
        return ["upscale", name, "--scale", "2", "--model", "tiny.safetensors", "-o", "out.png"]
    if kind == "masks":
        name = draw.choice(list(place.pictures))
        (place.folder / "masks").mkdir(exist_ok=True)
        for old in (place.folder / "masks").iterdir():
            old.unlink()
        (place.folder / "masks" / name).write_bytes(damage.picture(place.pictures[name], draw))
        return ["degrade", "rgb.png", "-o", "out.png", "--spec", "{name: inpainting, kind: folder, folder: masks}"]
    if kind == "configurations":
        (place.folder / "config.yaml").write_bytes(damage.config(draw))
        return ["train", "config.yaml"]
    if kind == "weights":
        name, content = damage.weight_file(place.weights, draw)
        (place.folder / f"bad-{name}").write_bytes(content)
        command = draw.choice(
            (["info"], ["convert"], ["upscale", "rgb.png", "--scale", "2", "-o", "out.png", "--model"])
        )
        return [*command, f"bad-{name}", *(["out.safetensors"] if command == ["convert"] else [])]
    return damage.words(draw)


@pytest.mark.parametrize("cases", [FEW_CASES, pytest.param(CASES, marks=pytest.mark.slow)], ids=["few", "many"])
@pytest.mark.parametrize("kind", ["pictures", "masks", "configurations", "weights", "arguments"])
def test_damaged_input_is_refused_in_one_line(kind: str, cases: int, workplace: Workplace) -> None:
    wrong = []
    for number in range(cases):
        words = case(kind, number, workplace)
        ran = workplace.run(*words)
        if faults := workplace.faults(ran):
            shown = " ".join(word[:60] for word in words)
            wrong.append(f"{kind} {number}, seed {SEED}: {', '.join(faults)}\n  {shown!r}\n  {ran.err[-400:]!r}")
    assert not wrong, "\n".join([f"{len(wrong)} of {cases} cases", *wrong])


@pytest.mark.parametrize("name", FAULTS)
def test_a_known_fault_is_refused_and_named(name: str, workplace: Workplace) -> None:
    fault = FAULTS[name]
    workplace.furnish()
    fault.write(workplace.folder)
    ran = workplace.run(*fault.words)
    assert not workplace.faults(ran), ran.err
    assert ran.code == (2 if fault.says else 0), ran.err
    assert fault.says in ran.err


def test_the_whole_files_are_none_of_the_faults(workplace: Workplace) -> None:
    workplace.furnish()
    for name, content in workplace.pictures.items():
        (workplace.folder / name).write_bytes(content)
        ran = workplace.run("upscale", name, "--scale", "2", "--model", "tiny.safetensors", "-o", "out.png")
        assert ran.code == 0 and ran.new == ["out.png"] and not workplace.faults(ran), ran.err
    workplace.furnish()
    ran = workplace.run("train", "config.yaml")
    assert ran.code == 0 and "run/last.safetensors" in ran.new and not workplace.faults(ran), ran.err

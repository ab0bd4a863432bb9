"""Shared fixtures."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # `-n 2`: the cores are the workers', and those of the processes they start
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import torch

import implicitkit as ik
from implicitkit.cli.main import main
from implicitkit.kernels import cpu
from implicitkit.kernels.cpu import CPUKernel, agrees
from oracles import PHOTOS
from oracles.kernel import fresh
from oracles.protocols import Brightness, WholeEvaluate

hypothesis.settings.register_profile("implicitkit", deadline=None)  # a busy machine is no fault
hypothesis.settings.load_profile("implicitkit")
os.environ["IMPLICITKIT_PLUGINS"] = "none"  # what happens to be installed here is not what is tested
if (
    not torch.cuda.is_available()
):  # the GPU's kernels run in Triton's interpreter; Triton reads this when it is imported
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def plain_path() -> Iterator[None]:
    """PyTorch's operators alone, as where there is no compiler for the CPU kernel."""
    with pytest.MonkeyPatch.context() as patch:  # not kernels.plain_path(): tests have contexts of their own
        patch.setattr(cpu, "kernel_for", lambda like, layers: None)
        yield


@pytest.fixture(scope="module", params=["kernel", "plain path"])
def either_way(request: pytest.FixtureRequest) -> None:
    """Each test once with the CPU kernel, where there is one, and once without."""
    if request.param == "plain path":
        request.getfixturevalue("plain_path")


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Nothing is compiled yet, and what is goes into an empty cache folder."""
    monkeypatch.setenv("IMPLICITKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    fresh()
    yield tmp_path / "cache" / "kernels"
    monkeypatch.undo()
    fresh()


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the kernel was run for."""
    names: list[str] = []
    run = CPUKernel._run

    def watched(self: CPUKernel, form: str, *others: Any) -> torch.Tensor:
        names.append(f"{form} {self.dtype}")
        return run(self, form, *others)

    def quietly(kernel: CPUKernel) -> bool:
        before, result = len(names), agrees(kernel)
        del names[before:]
        return result

    monkeypatch.setattr(CPUKernel, "_run", watched)
    monkeypatch.setattr(cpu, "agrees", quietly)
    return names


@pytest.fixture
def photo() -> torch.Tensor:
    return ik.read_image(PHOTOS / "chelsea.png")[:, 60:124, 100:180].contiguous()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, ``a`` and ``b``, of 41×50 pixels."""
    photo = ik.read_image(PHOTOS / "chelsea.png")
    (tmp_path / "pictures").mkdir()
    for k, name in enumerate(("a", "b")):
        ik.write_image(tmp_path / "pictures" / f"{name}.png", photo[:, 40 * k : 40 * k + 41, 100:150])
    return tmp_path / "pictures"


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    """Three pictures, ``a`` to ``c``, of 32×32 pixels."""
    photo = ik.read_image(PHOTOS / "chelsea.png")
    (tmp_path / "pictures").mkdir()
    for k, name in enumerate(("a", "b", "c")):
        ik.write_image(tmp_path / "pictures" / f"{name}.png", photo[:, 40 * k : 40 * k + 32, 100:132])
    return tmp_path / "pictures"


@pytest.fixture
def clean() -> torch.Tensor:
    return ik.read_image(PHOTOS / "chelsea.png")[:, 60:157, 100:201]


@pytest.fixture
def noisy(clean: torch.Tensor) -> torch.Tensor:
    return (clean + 0.1 * torch.rand_like(clean)).clamp(0, 1)


@pytest.fixture
def hole(clean: torch.Tensor) -> torch.Tensor:
    mask = torch.zeros(1, *clean.shape[1:])
    mask[:, 10:40, 0:50] = 1
    mask[:, 70:75, 90:] = 1
    return mask


@pytest.fixture
def theirs() -> Iterator[None]:
    """The protocols of :mod:`oracles.protocols`, as a plugin brings them."""

    class Theirs:
        @ik.hookimpl
        def register_protocols(self, register):
            register("a_tests_brightness", Brightness, summary="a test's")
            register("a_tests_whole", WholeEvaluate, summary="another")

    registered = ik.register_plugin(Theirs())
    assert registered.provides == {"protocol": ["a_tests_brightness", "a_tests_whole"]}
    yield
    ik.unregister_plugin(registered)


class Outcome:
    """What a command left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error:")]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["implicitkit", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        return Outcome(int(stopped.value.code or 0), captured.out, captured.err)

    return call

"""Shared fixtures."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # the cores are the workers', and those of the processes they start
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from implicitkit.cli.main import main

os.environ["IMPLICITKIT_PLUGINS"] = "none,implicitkit_sair"  # this one alone, whatever else is installed here


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    torch.manual_seed(0)


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error:")]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Call ``implicitkit ARGUMENTS...`` in this process."""

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["implicitkit", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        return Outcome(int(stopped.value.code or 0), captured.out, captured.err)

    return call

"""Fixtures for the CPU kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from cpu_kernel import fresh

from implicitkit.kernels import cpu
from implicitkit.kernels.cpu import CPUKernel, agrees


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

"""What the tests of the CPU kernel share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from implicitkit import devices
from implicitkit.kernels import compiled, cpu, plain_path

SETS = dict(enumerate(compiled.instruction_sets()))
if devices.vector_instructions() == "AVX512":
    SETS[len(SETS)] = ("-mavx2", "-mfma")
needs_compiler = pytest.mark.skipif(
    compiled.find_compiler() is None or not SETS, reason="there is no C compiler, or no instructions that are known"
)


def fresh() -> None:
    """Forget what was compiled."""
    compiled.library.cache_clear()
    cpu._kernels.cache_clear()


def both(ask: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The plain path's answer, and the kernel's."""
    with plain_path():
        expected = ask()
    return expected, ask()


def apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())

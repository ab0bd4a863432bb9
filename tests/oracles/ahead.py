"""Kernels compiled for a card that need not be there, by a process that does not interpret them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "kernels" / "compile_ahead.py"
SHARED_BYTES = 227 << 10  # of an H100's program


def compiled_ahead(*names: str) -> list[tuple[str, int, int, bool]]:
    """For each case of the kernels ``names``: the name, the shared memory it takes, the size of its code, and whether it
    has Hopper's matrix products.
    """
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    command = [sys.executable, str(SCRIPT), "90", *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    return [(name, int(shared), int(size), hopper == "True") for name, shared, size, hopper in lines]

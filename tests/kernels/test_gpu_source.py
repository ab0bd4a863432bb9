"""The Triton source compiles for a card that need not be there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton comes with PyTorch where there may be a GPU")


@pytest.mark.slow
def test_the_published_sizes_compile_for_a_card_that_is_not_here() -> None:
    here = Path(__file__).with_name("compile_ahead.py")
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, str(here), "90"], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [name for name, *_ in lines] == ["liif", "lte"]
    for _, takes, size, hopper in lines:
        assert int(takes) <= 227 << 10 and int(size) > 1000 and hopper == "True"  # an H100's shared memory and products

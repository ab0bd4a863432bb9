"""The Triton source compiles for a card that need not be there."""

from __future__ import annotations

import pytest

from oracles.ahead import SHARED_BYTES, compiled_ahead

pytest.importorskip("triton", reason="Triton comes with PyTorch where there may be a GPU")


@pytest.mark.slow
def test_the_published_sizes_compile_for_a_card_that_is_not_here() -> None:
    cases = compiled_ahead("liif", "lte", "lmf")
    assert [name for name, *_ in cases] == ["liif", "lte", "lmf", "lmf"]
    for name, shared, size, hopper in cases:
        assert shared <= SHARED_BYTES and size > 1000, name
        assert hopper or name == "lmf", name  # whose exact float32 has no such products

"""The Triton source of the grids compiles for a card that need not be there."""

from __future__ import annotations

import pytest

from oracles.ahead import SHARED_BYTES, compiled_ahead

pytest.importorskip("triton", reason="Triton comes with PyTorch where there may be a GPU")


@pytest.mark.slow
def test_the_published_sizes_compile_for_a_card_that_is_not_here() -> None:
    cases = compiled_ahead("waves", "join", "products")
    assert {name for name, *_ in cases} == {"waves", "join", "products"} and len(cases) >= 8
    for name, shared, size, _ in cases:
        assert shared <= SHARED_BYTES // 4 and size > 1000, name  # several programs share a multiprocessor

"""Masks of an exact number of pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from implicitkit.degradations.masks import Bin, adjust, centred, cover


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 144), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_adjusting_moves_the_edge_to_the_exact_count(height: int, width: int, count: int, seed: int) -> None:
    before = np.random.default_rng(seed).random((height, width)) < 0.3
    count = min(count, height * width)
    after = adjust(before, count)
    assert after.sum() == count
    assert (after >= before).all() if count >= before.sum() else (after <= before).all()


def test_covering_with_no_shapes_grows_from_the_middle() -> None:
    assert cover((5, 5), 1, []).nonzero() == (np.array([2]), np.array([2]))
    assert cover((5, 5), 25, []).all() and not cover((5, 5), 0, []).any()


def test_a_centred_rectangle_is_centred_and_has_the_pictures_aspect() -> None:
    mask = centred((60, 30), Bin.of(0.2, 0.3), 0.25)
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (15, 44, 7, 21)

"""Pictures as the page shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from implicitkit.app.previews import before_and_after, preview, shown_size
from implicitkit.app.session import Session
from implicitkit.images.io import Picture, read_picture


def test_a_preview_has_8_bits_and_keeps_alpha_and_profile() -> None:
    full = Picture(np.full((6, 8, 3), 51400, np.uint16), np.full((6, 8), 65535, np.uint16), b"profile")
    seen = preview(full, (3, 4))
    assert seen.size == (3, 4) and seen.bits == 8 and seen.icc == b"profile"
    assert (seen.pixels == 200).all() and seen.alpha is not None and (seen.alpha == 255).all()
    assert preview(seen, (3, 4)) is seen


def test_both_sides_of_a_slider_have_one_size_no_larger_than_a_screen(tmp_path: Path) -> None:
    small, large = Picture(np.zeros((10, 20, 1), np.uint8)), Picture(np.zeros((1700, 3400, 1), np.uint8))
    files = before_and_after(Session(tmp_path), small, large)
    assert [read_picture(file).size for file in files] == [shown_size(large.size)] * 2 == [(800, 1600)] * 2

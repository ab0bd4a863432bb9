"""Sheets of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import implicitkit as ik
from implicitkit.images.sheets import save_figure, sheet


def test_a_sheet_shows_the_very_colours_of_small_pictures(tmp_path: Path) -> None:
    """Enlarged by the nearest pixel: no colour that is not in the picture."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 2, (5, 6, 3), dtype=np.uint8) * 255
    save_figure(sheet([[("a", small), ("b", small)], [("c", small[:, :3])]], ["one", "two"]), tmp_path / "grid.png")
    drawn = (ik.read_image(tmp_path / "grid.png") * 255).round()
    saturated = (drawn == 255) | (drawn == 0)
    colours = {tuple(pixel) for pixel in drawn[:, saturated.all(0)].T.tolist()}
    assert {tuple(map(float, pixel)) for pixel in small.reshape(-1, 3)} <= colours
    assert float((drawn == drawn.mean(0)).all(0).float().mean()) < 1 and min(drawn.shape[1:]) > 300

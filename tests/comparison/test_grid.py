"""Which pictures are shown, and how they come together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import implicitkit as ik
from implicitkit.comparison.grid import choose, draw_grid, read_pictures
from implicitkit.images.io import to_pixels

GAINS = {"a": 0.1, "b": -0.5, "c": 2.0, "d": 0.3, "e": 1.0}


def test_the_best_the_median_and_the_worst() -> None:
    assert choose(GAINS, 3) == [("best gain", "c"), ("median gain", "d"), ("worst gain", "b")]
    assert choose(GAINS, 1) == [("median gain", "d")]
    assert choose(GAINS, 2) == [("best gain", "c"), ("worst gain", "b")]
    assert [picture for _, picture in choose(GAINS, 9)] == ["c", "e", "d", "a", "b"]
    assert [what for what, _ in choose(GAINS, 5)] == [
        "best gain",
        "75 % gain",
        "median gain",
        "25 % gain",
        "worst gain",
    ]


def test_the_input_is_laid_over_the_truth(tmp_path: Path) -> None:
    """A picture of 3x4 pixels, enlarged four times, two pixels shaved from each border."""
    rng = np.random.default_rng(0)
    seen = rng.integers(255, size=(3, 4, 3), dtype=np.uint8)
    large = seen.repeat(4, 0).repeat(4, 1)
    truth = large[2:-2, 2:-2]
    file = tmp_path / "pictures.npz"
    kept = {"seen": seen, "truth": truth, "prediction": truth, "full": np.array([12, 16])}
    np.savez_compressed(file, **{f"x4|a|{name}": array for name, array in kept.items()})
    found = read_pictures(file, "x4", "a")
    assert found is not None and found.keys() == {"seen", "truth", "prediction"}
    assert np.array_equal(found["seen"], truth)
    assert read_pictures(file, "x4", "b") is None


def test_the_sheet_holds_the_very_pixels(tmp_path: Path) -> None:
    small = to_pixels(torch.rand(3, 40, 50))
    wide = to_pixels(torch.rand(3, 20, 800))
    draw_grid([[("a", small), ("b", small)], [("c", wide)]], ["one", "two"], tmp_path / "grid.png")
    sheet = to_pixels(ik.read_image(tmp_path / "grid.png"))
    assert sheet.shape[:2] == (8 + 160 + 44 + 8 + 10 + 44 + 8, 8 + 2 * (200 + 8))  # enlarged four times; shrunk to 384
    enlarged = small.repeat(4, 0).repeat(4, 1)
    top = 8 + 44
    assert np.array_equal(sheet[top : top + 160, 8:208], enlarged)
    assert np.array_equal(sheet[top : top + 160, 216:416], enlarged)

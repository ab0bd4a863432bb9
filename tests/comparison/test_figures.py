"""What a log says, the figure of it, and sheets of pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import implicitkit as ik
from implicitkit.comparison.figures import (
    Curve,
    busiest,
    choose,
    draw_band,
    draw_curves,
    read_curve,
    save,
    sheet,
)


def written(folder: Path, entries: list[dict[str, object]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return folder


LOG = [
    {"event": "start", "step": 0, "time": 100.0},
    {"event": "train", "step": 10, "loss": 0.9, "loss_l1": 0.5, "loss_semantic": 4.0, "crops_per_s": 20.0},
    {"event": "validation", "step": 15, "psnr": 21.0, "psnr_all": 21.0},
    {"event": "train", "step": 20, "loss": 0.8, "loss_l1": 0.4, "loss_semantic": 4.0, "crops_per_s": 40.0},
    {"event": "start", "step": 20, "time": 9000.0},  # resumed hours later
    {"event": "train", "step": 25, "loss": 0.7, "loss_l1": 0.3, "loss_semantic": 4.0, "crops_per_s": 5.0},
    {"event": "validation", "step": 25, "loss": 0.7},
]


def test_seconds_are_those_of_training(tmp_path: Path) -> None:
    curve = read_curve(written(tmp_path, LOG), batch=4)
    assert curve.term == "loss_l1" and curve.loss == [0.5, 0.4, 0.3]
    assert curve.steps == [10, 20, 25]
    assert curve.seconds == pytest.approx([10 * 4 / 20, 2 + 10 * 4 / 40, 3 + 5 * 4 / 5])
    assert curve.total_seconds == pytest.approx(7)
    assert (curve.validated, curve.psnr) == ([15], [21.0])  # of an embedding there is no PSNR
    assert curve.seconds_at(15) == pytest.approx(2.5) and curve.seconds_at(5) == pytest.approx(1)


def test_one_loss_is_the_loss(tmp_path: Path) -> None:
    folder = written(tmp_path, [{"event": "train", "step": 5, "loss": 0.9, "crops_per_s": 20.0}])
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"event": "tr')  # the line that is being written
    assert read_curve(folder, 2).loss == [0.9] and read_curve(folder, 2).term == "loss"
    assert read_curve(tmp_path / "nowhere", 2) == Curve()


class Panel:
    """Keeps what is drawn on it."""

    def plot(self, x, y, **_) -> None:
        self.line = (list(x), list(y))

    def fill_between(self, x, low, high, **_) -> None:
        self.band = (list(low), list(high))


def test_the_line_is_the_mean_and_the_band_the_range_over_seeds() -> None:
    panel = Panel()
    draw_band(panel, [([1, 2], [3.0, 5.0]), ([3, 4], [1.0, 4.0]), ([2, 3, 9], [2.0, 0.0, 9.0])], "red", "x")
    assert panel.line == ([2, 3], [2.0, 3.0])  # as far as all of them go
    assert panel.band == ([1.0, 0.0], [3.0, 5.0])


def test_the_figure_is_a_picture(tmp_path: Path) -> None:
    curve = read_curve(written(tmp_path, LOG), 4)
    draw_curves({"one": [(curve, 0.0), (curve, 3.0)], "none yet": [(Curve(), 0.0)]}, tmp_path / "curves.png")
    picture = ik.read_image(tmp_path / "curves.png")
    assert picture.shape[0] == 3 and min(picture.shape[1:]) > 500 and picture.std() > 0.05
    assert [p.name for p in tmp_path.glob("*.png")] == ["curves.png"]


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


def test_a_sheet_shows_the_very_colours_of_small_pictures(tmp_path: Path) -> None:
    """Enlarged by the nearest pixel: no colour that is not in the picture."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 2, (5, 6, 3), dtype=np.uint8) * 255
    save(sheet([[("a", small), ("b", small)], [("c", small[:, :3])]], ["one", "two"]), tmp_path / "grid.png")
    drawn = (ik.read_image(tmp_path / "grid.png") * 255).round()
    saturated = (drawn == 255) | (drawn == 0)
    colours = {tuple(pixel) for pixel in drawn[:, saturated.all(0)].T.tolist()}
    assert {tuple(map(float, pixel)) for pixel in small.reshape(-1, 3)} <= colours
    assert float((drawn == drawn.mean(0)).all(0).float().mean()) < 1 and min(drawn.shape[1:]) > 300


def test_the_detail_is_where_most_happens() -> None:
    picture = torch.zeros(3, 64, 64)
    picture[:, 33:47, 17:31] = torch.rand(3, 14, 14)
    rows, columns = busiest(picture, 16)
    assert (rows, columns) == (slice(32, 48), slice(16, 32))

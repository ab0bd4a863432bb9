"""What a log says, and the figure of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

import implicitkit as ik
from implicitkit.training.curves import Curve, draw_bands, draw_curves, read_curve


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
    assert curve.validations[:, 0] == pytest.approx([15, 2.5, 21.0])
    after = read_curve(tmp_path, batch=4, before=100.0)
    assert after.losses[1] == pytest.approx([102, 103, 107]) and after.validations[1] == pytest.approx([102.5])
    assert after.total_seconds == pytest.approx(7)


def test_a_run_that_ended_early_says_where(tmp_path: Path) -> None:
    end = {"event": "end", "step": 25, "reason": "good enough"}
    assert read_curve(written(tmp_path, LOG), batch=4).ended is None
    assert read_curve(written(tmp_path, [*LOG, end]), batch=4).ended == 25
    resumed = {"event": "train", "step": 30, "loss": 0.7, "loss_l1": 0.3, "crops_per_s": 5.0}
    assert read_curve(written(tmp_path, [*LOG, end, resumed]), batch=4).ended is None


def test_one_loss_is_the_loss(tmp_path: Path) -> None:
    folder = written(tmp_path, [{"event": "train", "step": 5, "loss": 0.9, "crops_per_s": 20.0}])
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"event": "tr')  # the line that is being written
    assert read_curve(folder, 2).loss == [0.9] and read_curve(folder, 2).term == "loss"
    assert read_curve(tmp_path / "nowhere", 2) == Curve()


class Panel:
    """Keeps what is drawn on it."""

    def plot(self, x, y, **_) -> None:
        self.line = (x.tolist(), y.tolist())

    def fill_between(self, x, low, high, **_) -> None:
        self.band = (low.tolist(), high.tolist())


def test_the_line_is_the_mean_and_the_band_the_range_over_seeds() -> None:
    steps, seconds = Panel(), Panel()
    curves = [
        Curve(steps=[1, 2], seconds=[2.0, 4.0], loss=[3.0, 5.0]),
        Curve(steps=[1, 2], seconds=[4.0, 6.0], loss=[1.0, 4.0]),
        Curve(steps=[1, 2, 3], seconds=[3.0, 5.0, 9.0], loss=[2.0, 0.0, 9.0]),
    ]
    draw_bands([steps, seconds], [curve.losses for curve in curves], {"color": "red"}, "x")
    assert steps.line == ([1, 2], [2.0, 3.0])  # as far as all of them go
    assert seconds.line == ([3, 5], [2.0, 3.0])
    assert steps.band == seconds.band == ([1.0, 0.0], [3.0, 5.0])


def test_the_figure_is_a_picture(tmp_path: Path) -> None:
    curve = read_curve(written(tmp_path, LOG), 4)
    draw_curves({"one": [curve, curve], "none yet": [Curve()]}, tmp_path / "curves.png")
    picture = ik.read_image(tmp_path / "curves.png")
    assert picture.shape[0] == 3 and min(picture.shape[1:]) > 500 and picture.std() > 0.05
    assert [p.name for p in tmp_path.glob("*.png")] == ["curves.png"]


def test_a_loss_below_zero_is_drawn_and_no_panel_is_empty(tmp_path: Path) -> None:
    curve = Curve(steps=[1, 2, 3], seconds=[1.0, 2.0, 3.0], loss=[-1.0, -2.0, -2.5])
    draw_curves({"psnr": [curve]}, tmp_path / "one.png")  # a logarithmic axis would warn
    draw_curves({"psnr": [Curve(**{**vars(curve), "validated": [3], "psnr": [30.0]})]}, tmp_path / "two.png")
    one, two = (ik.read_image(tmp_path / f"{name}.png") for name in ("one", "two"))
    assert one.shape[2] == two.shape[2] and one.shape[1] < 0.6 * two.shape[1]
    assert (one.std(0) > 0.1).sum() > 200  # a line in colour


def test_times_far_apart_are_shown_by_their_logarithms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr("implicitkit.training.curves.save_figure", lambda figure, file: drawn.append(figure))
    short = Curve(steps=[1, 2], seconds=[1.0, 2.0], loss=[2.0, 1.0])
    for factor in (9, 11):
        long = Curve(steps=[1, 2], seconds=[1.0 * factor, 2.0 * factor], loss=[2.0, 1.0])
        draw_curves({"GPU": [short], "CPU": [long], "none yet": [Curve()]}, tmp_path / "curves.png")
    scales = [[panel.get_xscale() for panel in figure.axes] for figure in drawn]
    assert scales == [["linear", "linear"], ["linear", "log"]]

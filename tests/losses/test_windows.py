"""Dense windows: where they lie, what a batch of them holds, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import implicitkit as ik
from implicitkit.config import DataConfig, TrainConfig, validate
from implicitkit.coordinates import grid
from implicitkit.images.folders import picture_files
from implicitkit.losses.windows import as_pictures, window_in
from implicitkit.training.data import TrainingCrops, collate
from oracles import PHOTOS
from oracles.runs import furthest, run, settings, weights


def crops(spec: object, **data: object) -> TrainingCrops:
    config = DataConfig(folders=[PHOTOS], **{"patch": 12, "points": "window", **data})
    return TrainingCrops(picture_files([PHOTOS]), config, ik.create_degradation(spec), 0, 40, reference=True)


@given(st.data())
def test_a_window_is_a_rectangle_of_the_picture(data: st.DataObject) -> None:
    size = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    window = tuple(data.draw(st.integers(1, n)) for n in size)
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    chosen = window_in(size, window, generator).reshape(window)
    numbers = torch.arange(size[0] * size[1]).reshape(size)
    top, left = divmod(int(chosen[0, 0]), size[1])
    assert torch.equal(chosen, numbers[top : top + window[0], left : left + window[1]])


def test_a_window_falls_everywhere() -> None:
    places = {int(window_in((5, 6), (3, 3), torch.Generator().manual_seed(seed))[0]) for seed in range(300)}
    assert len(places) == 3 * 4
    with pytest.raises(ValueError, match="a window of 6×6 does not fit into 6×5 pixels"):
        window_in((5, 6), (6, 6), torch.Generator())


def test_the_whole_output_is_the_clean_crop() -> None:
    batch = collate([crops({"name": "super_resolution", "scale": 2.5})[k] for k in range(3)])
    assert batch["window"] == (30, 30) and batch["coords"].shape == (3, 900, 2)
    assert torch.equal(as_pictures(batch["target"], batch), batch["reference"])
    assert torch.equal(batch["coords"][1], grid((30, 30)))


def test_a_window_of_every_scale_has_one_size() -> None:
    data = crops({"name": "super_resolution", "scale": [1, 4]}, window=10)
    items = [data[k] for k in range(20)]
    batch = collate(items)
    truth = as_pictures(batch["target"], batch)
    assert truth.shape == (20, 3, 10, 10) and batch["cell"].shape == (20, 1, 2)
    for k, item in enumerate(items):
        height, width = item["reference"].shape[1:]
        index = (item["coords"] + 1) * torch.tensor([height, width]) / 2 - 0.5  # exact to float32
        top, left = index[0].round().int().tolist()
        assert torch.equal(truth[k], item["reference"][:, top : top + 10, left : left + 10])


def test_random_points_are_as_they_were() -> None:
    """Windows are drawn apart: the same seed gives the same points as ever, an item of theirs has no window."""
    assert "window" not in crops({"name": "super_resolution", "scale": [1, 4]}, points=50)[0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"points": "windows"}, r"data\.points: points are a number of at least 1, or window \(received 'windows'\)"),
        ({"points": 0}, r"data\.points: points are a number of at least 1"),
        ({"window": 8}, "window: 8 is the side of a window; set points: window as well"),
        ({"points": "window"}, r"outputs have from 1[23] to \d+ pixels a side .* such as data\.window: 12"),
        ({"points": "window", "window": 16}, r"data\.window is 16, but an output may have 1\d pixels a side"),
    ],
)
def test_impossible_windows_are_refused_in_one_line(tmp_path: Path, data: object, message: str) -> None:
    with pytest.raises(ik.UserError, match=message) as refused:
        run(settings(tmp_path / "run", data=data))
    assert "\n" not in str(refused.value) and not (tmp_path / "run").exists()


def test_losses_of_points_take_windows_as_they_are(tmp_path: Path) -> None:
    folder = run(settings(tmp_path / "run", data={"points": "window", "window": 8}, steps=4))
    parts = run(settings(tmp_path / "parts", data={"points": "window", "window": 8}, steps=4, accumulate=2))
    assert furthest(weights(folder), weights(parts)) < 1e-4


def test_what_a_run_stores_reads_back(tmp_path: Path) -> None:
    config = validate(TrainConfig, settings(tmp_path, data={"points": "window", "window": 8}), "c")
    assert validate(TrainConfig, config.model_dump(mode="json"), "again") == config

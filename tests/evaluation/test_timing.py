"""What is kept of an evaluation besides its scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import implicitkit as ik
from implicitkit.evaluation import Example
from implicitkit.evaluation import watch as room
from implicitkit.evaluation.timing import Costs, Watch, read_pictures
from implicitkit.images.io import to_pixels


def test_pictures_are_kept_in_8_bits_as_long_as_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_PICTURE_BYTES", 1)
    watch, image, truth = Watch(), torch.rand(3, 5, 6), torch.rand(3, 10, 12)
    for name, seconds in (("a", 3.0), ("b", 1.0), ("c", 2.0)):
        watch("m", Example("2", name, image, None, truth), truth / 2, seconds)
    watch("words", Example("2", "a", image, None, truth), {"labels": truth}, 1.0)
    watch.write(tmp_path / "p.npz")
    kept = read_pictures(tmp_path / "p.npz", "2", "a")
    assert kept.keys() == {"input", "truth", "row m"} and np.array_equal(kept["input"], to_pixels(image))
    assert np.array_equal(kept["row m"], to_pixels(truth / 2)) and not read_pictures(tmp_path / "p.npz", "2", "b")
    assert watch.costs("m") == Costs(seconds=2.0, input=[5, 6], output=[10, 12])
    assert watch.costs("none") == Costs()
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": "nearest"})
    costs = watch.costs("m", model, lambda example: model.encode(example.image).render(example.size))
    assert (
        costs.total == costs.trainable == sum(p.numel() for p in model.parameters()) and costs.macs > 5 * 6 * 9 * 3 * 4
    )
    assert read_pictures(tmp_path / "none.npz", "2", "a") == {}

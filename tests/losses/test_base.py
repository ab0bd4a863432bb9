"""What a loss is handed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import implicitkit as ik
from implicitkit.losses import PictureLoss, pictures
from oracles.runs import furthest, identical, run, settings, weights


class Blurred(PictureLoss):
    """A stand-in for a loss of pictures."""

    def of(self, prediction: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        assert prediction.shape == truth.shape == (4, 3, 9, 9) or len(truth) == 1
        return (prediction - truth).square().mean()


@pytest.fixture
def blurred():
    class Plugin:
        @ik.hookimpl
        def register_losses(self, register):
            register("a_tests_blurred", Blurred)

    registered = ik.register_plugin(Plugin())
    yield "a_tests_blurred"
    ik.unregister_plugin(registered)


def test_a_loss_of_pictures_is_handed_pictures(tmp_path: Path, blurred: str) -> None:
    window = {"points": "window", "window": 9}
    pictures = run(settings(tmp_path / "pictures", loss=blurred, data=window))
    assert identical(weights(pictures), weights(run(settings(tmp_path / "again", loss=blurred, data=window))))
    points = run(settings(tmp_path / "points", loss="l2", data=window))
    assert furthest(weights(pictures), weights(points)) < 1e-4  # the same loss, summed in another order


def test_a_loss_of_pictures_refuses_random_points(tmp_path: Path, blurred: str) -> None:
    message = r"a_tests_blurred: a loss of pictures, but data\.points is 64; set data\.points: window"
    with pytest.raises(ik.ConfigError, match=message):
        run(settings(tmp_path / "run", loss=[{"name": "l1"}, {"name": blurred}]))
    values = torch.rand(1, 4, 3)
    with pytest.raises(ValueError, match="random and make no picture"):
        pictures(ik.Prediction(values, {}), {"target": values})
    with pytest.raises(ValueError, match="lpips compares RGB pictures; the model's decoder gives 5 values per point"):
        pictures(ik.Prediction(torch.rand(1, 4, 5), {}), {"target": values, "window": (2, 2)}, "lpips")

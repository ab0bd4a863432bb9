"""Every registered loss and metric keeps the contract; LPIPS, which needs a file, is tried with weights made here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import implicitkit as ik
from implicitkit import testing

NEEDS_WEIGHTS = {"lpips": "vgg", "lpips_alex": "alex", "lpips_squeeze": "squeeze"}


@pytest.mark.parametrize("name", sorted(set(ik.list_losses()) - set(NEEDS_WEIGHTS)))
def test_every_loss(name: str) -> None:
    testing.check_loss(name)


@pytest.mark.parametrize("name", sorted(set(ik.list_metrics()) - set(NEEDS_WEIGHTS)))
def test_every_metric(name: str) -> None:
    testing.check_metric(name)


def test_lpips_with_a_file(tmp_path: Path) -> None:
    import torchvision

    features = torchvision.models.squeezenet1_1().features.state_dict(prefix="features.")
    torch.save(features, tmp_path / "squeeze.pth")
    testing.check_metric({"name": "lpips_squeeze", "weights": str(tmp_path / "squeeze.pth")})
    testing.check_loss({"name": "lpips", "net": "squeeze", "weights": str(tmp_path / "squeeze.pth")})


def test_what_does_not_keep_it_is_found() -> None:
    class Backwards(ik.Metric):
        name, higher_is_better = "backwards", False

        def measure(self, prediction, target, mask):
            return -float((prediction - target).abs().mean())

    class Constant:
        def __call__(self, prediction, batch):
            return prediction.values.sum() * 0

    class Theirs:
        @ik.hookimpl
        def register_metrics(self, register):
            register("a_tests_backwards", Backwards)

        @ik.hookimpl
        def register_losses(self, register):
            register("a_tests_constant", Constant)

    registered = ik.register_plugin(Theirs())
    try:
        with pytest.raises(AssertionError, match="higher_is_better is False"):
            testing.check_metric("a_tests_backwards")
        with pytest.raises(AssertionError, match="no finite gradient"):
            testing.check_loss("a_tests_constant")
    finally:
        ik.unregister_plugin(registered)

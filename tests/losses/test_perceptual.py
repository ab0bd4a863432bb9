"""LPIPS as a loss: the metric's number, with a gradient; backbones have random weights, so nothing is downloaded."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest
import torch
from torchvision import models

import implicitkit as ik
from oracles.runs import entries, run, settings

WINDOW = {"patch": 24, "points": "window", "window": 18}


@pytest.fixture
def squeeze(tmp_path: Path) -> str:
    torch.manual_seed(0)
    file = tmp_path / "squeeze.pth"
    torch.save(models.squeezenet1_1().features.state_dict(prefix="features."), file)
    return str(file)


def test_is_the_metrics_number_and_can_be_minimised(squeeze: str) -> None:
    loss = ik.create_loss({"name": "lpips", "net": "squeeze", "weights": squeeze})
    metric = ik.create_metric({"name": "lpips", "net": "squeeze", "weights": squeeze})
    truth, start = torch.rand(2, 2, 3, 20, 24)
    prediction = start.clone().requires_grad_()
    batch = {"target": truth.flatten(2).transpose(1, 2), "window": (20, 24)}

    def value() -> torch.Tensor:
        return loss(ik.Prediction(prediction.flatten(2).transpose(1, 2), {}), batch)

    assert value().item() == pytest.approx(metric(start, truth), rel=1e-5)
    optimiser = torch.optim.Adam([prediction], lr=0.01)
    for _ in range(10):
        optimiser.zero_grad()
        value().backward()
        optimiser.step()
    assert value().item() < 0.8 * metric(start, truth)
    assert not any(p.requires_grad or p.grad is not None for p in loss._network.parameters())


def test_a_run_learns_from_it(tmp_path: Path, squeeze: str) -> None:
    terms = [{"name": "l1"}, {"name": "lpips", "net": "squeeze", "weights": squeeze, "weight": 0.1}]
    folder = run(settings(tmp_path / "run", loss=terms, data=WINDOW, steps=4))
    (entry,) = entries(folder)
    assert entry["loss"] == pytest.approx(entry["loss_l1"] + 0.1 * entry["loss_lpips"], rel=1e-5)


def test_a_backbone_that_cannot_be_had_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("IMPLICITKIT_CACHE", str(tmp_path / "ours"))
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(ik.ConfigError, match=r"loss: lpips with alex needs alexnet-[\w-]+\.pth.*no route") as refused:
        run(settings(tmp_path / "run", loss="lpips", data=WINDOW))
    assert "\n" not in str(refused.value) and not (tmp_path / "run").exists()
    with pytest.raises(ik.ConfigError, match="loss: there is no file"):
        run(settings(tmp_path / "run", loss={"name": "lpips", "weights": str(tmp_path / "none.pth")}, data=WINDOW))


def test_what_it_cannot_compare_is_found_before_the_first_step(tmp_path: Path, squeeze: str) -> None:
    term = {"name": "lpips", "net": "squeeze", "weights": squeeze}
    with pytest.raises(ValueError, match=r"squeeze compares windows of at least 17 .* received 8×8; make data\.window"):
        run(settings(tmp_path / "run", loss=term, data={"points": "window", "window": 8}))
    assert not (tmp_path / "run").exists()
    with pytest.raises(ik.ArgumentError, match="received 'resnet'"):
        ik.create_loss("lpips", net="resnet")

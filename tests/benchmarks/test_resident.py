"""Training with the pictures on one device, and a step as a CUDA graph."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import nn

import implicitkit as ik
from benchmarks import resident
from benchmarks.graph_step import GraphStep, first_step
from implicitkit.config import OptimiserConfig
from implicitkit.training.optimisation.averaging import Average
from implicitkit.training.optimisation.optimiser import build_optimiser


def waves(height: int, width: int) -> torch.Tensor:
    """A smooth picture without symmetry."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.stack([0.5 + 0.4 * torch.sin(9 * x + k * y + 3 * y * y) for k in (1, 5, 11)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ik.write_image(tmp_path / "wide.png", waves(260, 480))
    ik.write_image(tmp_path / "small.png", waves(200, 90))
    return tmp_path


def test_tiles_cover_a_picture_and_mirror_a_small_one(folder: Path) -> None:
    tiles = resident.tiles([folder])
    assert tiles.shape == (7, 3, 256, 256)  # two rows of three, and one
    assert resident.starts(481) == [0, 112, 225] and resident.starts(256) == [0] == resident.starts(80)
    assert torch.equal(tiles[0][:, 200:], tiles[0][:, 144:200].flip(1)) or torch.equal(
        tiles[-1][:, 200:], tiles[-1][:, 144:200].flip(1)
    )


def test_a_crop_shows_what_its_points_are_asked_for(folder: Path) -> None:
    torch.manual_seed(0)
    crops = resident.Crops(resident.tiles([folder])[:6], 48, 300, (1.5, 4.0))
    for _ in range(3):
        batch = crops(8)
        assert batch["image"].shape == (8, 3, 48, 48) and batch["cell"].shape == (8, 1, 2)
        assert torch.equal((batch["image"] * 255).round() / 255, batch["image"])
        seen = F.grid_sample(batch["image"], batch["coords"].flip(-1)[:, None], "bicubic", "border", False)
        inside = (batch["coords"].abs() < 0.95).all(-1)
        error = (seen[:, :, 0].transpose(1, 2) - batch["target"]).abs()[inside].mean()
        assert error < 0.01 < batch["target"].std() / 10


def test_it_trains_saves_and_logs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {
        "model": {
            "encoder": {"name": "edsr", "blocks": 1, "channels": 8},
            "decoder": {"name": "liif", "hidden": [16]},
        },
        "data": {"folders": [str(folder)], "patch": 16, "points": 64},
        "degradation": {"name": "super_resolution", "scale": [1, 4], "quantise": True},
        "steps": 60,
        "batch": 4,
        "ema": 0.9,
        "output": "runs/x",
    }
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    given = ["resident", str(file), str(folder / "out"), str(folder), "--steps", "60", "--log-every", "20"]
    monkeypatch.setattr("sys.argv", [*given, "--set", "optimiser.lr=5e-3"])
    resident.main()
    lines = [json.loads(line) for line in (folder / "out" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, 40, 60] and lines[-1]["loss"] < lines[0]["loss"] / 2
    model = ik.load_model(folder / "out" / "last.safetensors")
    assert model.training_summary is not None and model.training_summary["steps"] == 60


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU records")
def test_without_a_gpu_nothing_is_recorded() -> None:
    assert first_step(lambda: pytest.fail("must not be called"), lambda: None) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="only a GPU records")
def test_recorded_steps_equal_those_one_by_one() -> None:
    torch.manual_seed(0)
    batches = [{"x": torch.rand(16, 3, device="cuda")} for _ in range(6)]
    first = nn.Linear(3, 1).cuda()
    second = nn.Linear(3, 1).cuda()
    second.load_state_dict(first.state_dict())

    def loss(model: nn.Module) -> object:
        return lambda batch: (model(batch["x"]) - batch["x"].sum(1, keepdim=True)).square().mean()

    config = OptimiserConfig(name="adamw", lr=1e-2)
    step = GraphStep(loss(first), first, build_optimiser(first, config), Average(first, 0.9), None, batches[0])  # type: ignore[arg-type]
    optimiser = build_optimiser(second, config)
    for batch in batches:
        step(batch, 1e-2)
        optimiser.zero_grad()
        loss(second)(batch).backward()  # type: ignore[operator]
        optimiser.step()
    assert torch.allclose(first.weight, second.weight, atol=1e-5) and torch.allclose(first.bias, second.bias, atol=1e-5)

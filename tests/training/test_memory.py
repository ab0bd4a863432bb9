"""Numbers that are in range one by one, and too much together: refused before any memory is taken."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import implicitkit as ik
from implicitkit.config import TrainConfig, validate
from implicitkit.errors import ConfigError
from implicitkit.training.memory import check_memory, kept_bytes, points_of
from oracles.runs import run, settings


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if 8 GB were free, on any device."""
    for module in ("training.memory", "create.memory"):
        monkeypatch.setattr(f"implicitkit.{module}.free_memory", lambda device: 8_000_000_000)


@pytest.mark.parametrize(
    ("changes", "lower"),
    [
        ({"batch": 8192, "data": {"points": 1 << 20}}, r"batch \(8,192\) or data.points \(1,048,576\)"),
        ({"batch": 8192, "data": {"patch": 256, "too_small": "mirror"}}, r"batch \(8,192\) or data.patch \(256\)"),
        ({"batch": 64, "data": {"patch": 1024, "too_small": "mirror"}}, r"batch \(64\) or data.patch \(1,024\)"),
        (
            {
                "data": {"patch": 4096, "too_small": "mirror"},
                "degradation": {"name": "super_resolution", "scale": [1, 1000]},
                "validation": {"every": 1000, "scales": [2], "max_size": 48},
            },
            r"data.patch \(4,096\) or the degradation's scale",
        ),
        ({"batch": 8192, "data": {"points": 4096, "workers": 128}}, r"batch \(8,192\) or data.points \(4,096\)"),
        (
            {"batch": 4096, "data": {"points": "window", "patch": 128, "too_small": "mirror", "window": 128}},
            r"batch \(4,096\) or data.window \(128\)",
        ),
    ],
    ids=["points", "patch", "activations", "scale", "workers", "window"],
)
def test_what_a_step_takes(free: None, tmp_path: Path, changes: dict[str, Any], lower: str) -> None:
    asked = settings(tmp_path / "out", **changes)
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        ConfigError, match=rf"^a step takes [\d,.]+ GB of memory at least, 8.0 GB are free; lower {lower}$"
    ):
        run(asked)
    assert time.monotonic() - start < 20 and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000
    assert not (tmp_path / "out").exists()


def test_weights_count_four_times_in_training(free: None, tmp_path: Path) -> None:
    asked = settings(tmp_path / "out")
    asked["model"]["encoder"] |= {"channels": 2048, "blocks": 8}  # 2.6 GB
    message = r"^model.encoder: its weights, their gradients and moments take 10\.\d GB, 8.0 GB are free; "
    with pytest.raises(ConfigError, match=message + r"lower channels \(2048\) or blocks \(8\)$"):
        run(asked)


def test_what_is_kept_is_linear_in_pixels_and_points() -> None:
    """EDSR of 8 channels keeps its 8 maps of 4 bytes a few times per pixel; a wider decoder keeps more per point."""
    encoder = {"name": "edsr", "blocks": 1, "channels": 8}
    pixel, point = kept_bytes(ik.create_model({"encoder": encoder, "decoder": {"name": "liif", "hidden": [16]}}))
    more, wide = kept_bytes(
        ik.create_model({"encoder": {**encoder, "blocks": 3}, "decoder": {"name": "liif", "hidden": [64]}})
    )
    assert 100 < pixel < 2000 and pixel < more and 4 * 16 * 4 <= point < wide


def test_parts_of_a_batch_and_processes_share_it(free: None, tmp_path: Path) -> None:
    def check(processes: int, **changes: Any) -> None:
        config = validate(TrainConfig, settings(tmp_path, batch=64, data={"patch": 512}, **changes), "a test")
        check_memory(model, config, (512, 512), torch.device("cpu"), processes)

    model = ik.create_model(settings(tmp_path)["model"] | {"encoder": {"name": "edsr", "blocks": 4, "channels": 32}})
    with pytest.raises(ConfigError, match="lower batch"):
        check(1)
    check(8)
    check(1, accumulate=8)


def test_the_points_of_a_crop(tmp_path: Path) -> None:
    def count(**data: Any) -> int:
        return points_of(validate(TrainConfig, settings(tmp_path, data=data), "a test"), (30, 40))

    assert count(points=7) == 7 and count(points="window", window=5) == 25 and count(points="window") == 1200


def test_a_model_that_cannot_be_tried_is_left_to_training(tmp_path: Path) -> None:
    model = ik.create_model(settings(tmp_path)["model"])
    model.decoder.query = None  # type: ignore[method-assign]
    assert kept_bytes(model) == (0.0, 0.0) and model.training

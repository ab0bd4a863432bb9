"""Restoration: any degradation, undone, and what is scored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import implicitkit as ik
from implicitkit.degradations.base import seeded
from implicitkit.evaluation import (
    as_degraded,
    evaluate_restoration,
)
from implicitkit.images.resize import resize
from implicitkit.metrics import l1, psnr, ssim
from oracles.models import small_model
from oracles.protocols import NOISY_AND_SMALL


def test_restoration_is_the_degradation_undone(folder: Path) -> None:
    """Scores against a literal version: the record replayed, the degraded picture enlarged, three metrics."""
    scores = evaluate_restoration({"input": as_degraded}, folder, NOISY_AND_SMALL, size=32, seed=4)
    assert list(scores.units) == ["psnr", "ssim", "l1"] and scores.units["psnr"] == "dB"
    for place, name in enumerate("ab"):
        clean = (
            resize(ik.read_image(folder / f"{name}.png")[:, :, 4:45], (32, 32), "pil").clamp(0, 1) * 255
        ).round() / 255
        for label, spec in NOISY_AND_SMALL.items():
            degradation = ik.create_degradation(spec)
            record = json.loads(json.dumps(scores.records[label][name]))
            assert record == degradation.sample(clean.shape, seeded(4, *label.encode(), place))
            seen = degradation.apply(clean, record)
            size = (32, 32) if label == "sigma 25" else (30, 30)
            assert seen.reference.shape[1:] == size
            shown = seen.image if label == "sigma 25" else resize(seen.image, size, "matlab").clamp(0, 1)
            found = {metric: pictures[name] for metric, pictures in scores.values["input"][label].items()}
            expected = {f.__name__: f(shown, seen.reference) for f in (psnr, ssim, l1)}
            assert found == pytest.approx(expected, abs=1e-9)
    assert scores.values["input"]["sigma 25"]["psnr"]["a"] == pytest.approx(20.2, abs=1)  # 20 log10(255 / 25)
    alone = {"sigma 25": NOISY_AND_SMALL["sigma 25"]}
    again = evaluate_restoration({"input": as_degraded}, folder, alone, ["psnr"], size=32, seed=4)
    assert again.values["input"]["sigma 25"]["psnr"] == scores.values["input"]["sigma 25"]["psnr"]
    other = evaluate_restoration({"input": as_degraded}, folder, alone, ["psnr"], size=32, seed=5)
    assert other.values["input"]["sigma 25"]["psnr"] != scores.values["input"]["sigma 25"]["psnr"]


def test_a_restored_picture_has_the_clean_ones_size_and_the_mask_is_passed_on(folder: Path) -> None:
    spec = small_model().spec
    masked = {**spec, "encoder": {**spec["encoder"], "mask_channels": 1}, "inputs": ["image", "mask"]}
    model, seen = ik.create_model(masked).eval(), []
    model.encoder.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    settings = {"half, x2": [{"name": "inpainting", "kind": "half"}, {"name": "super_resolution", "scale": 2}]}
    scores = ik.create_protocol("restoration", settings=settings).evaluate({"m": model}, folder)
    assert [x.shape for x in seen] == [(1, 4, 20, 25)] * 2
    assert all(0.4 <= float(x[:, 3].mean()) <= 0.6 for x in seen)
    assert set(scores.values["m"]["half, x2"]["psnr"]) == {"a", "b"}

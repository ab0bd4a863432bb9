"""Pairs of files, and training on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import implicitkit as ik
from implicitkit.config import DataConfig
from implicitkit.training.data import TrainingCrops


def write_pairs(folder: Path, scale: int = 2, count: int = 3) -> None:
    """Targets that are each input's pixels, repeated ``scale`` times; the holes of each mask are the left half."""
    generator = np.random.default_rng(0)
    for name in ("lr", "hr", "holes"):
        (folder / name).mkdir(parents=True)
    for k in range(count):
        small = generator.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(small).save(folder / "lr" / f"{k}x{scale}.png")
        Image.fromarray(small.repeat(scale, 0).repeat(scale, 1)).save(folder / "hr" / f"{k}.png")
        mask = np.zeros((20, 24), np.uint8)
        mask[:, :12] = 255
        Image.fromarray(mask).save(folder / "holes" / f"{k}x{scale}.png")


def crops(folder: Path, masks: bool, **settings: object) -> TrainingCrops:
    spec = {"name": "paired", "inputs": str(folder / "lr"), "targets": str(folder / "hr")}
    spec |= {"masks": str(folder / "holes")} if masks else {}
    config = DataConfig.model_validate({"dataset": spec, "patch": 8, "points": "window", "window": None, **settings})
    return TrainingCrops(ik.create_dataset(spec), config, None, seed=0, length=30, reference=True)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_input_mask_and_target_are_of_one_place(tmp_path: Path, scale: int) -> None:
    write_pairs(tmp_path, scale)
    data = crops(tmp_path, masks=True)
    shares = set()
    for k in range(30):
        sample = data[k]
        enlarged = sample["image"].repeat_interleave(scale, 1).repeat_interleave(scale, 2)
        assert torch.equal(sample["reference"], enlarged)  # whatever the flips
        assert sample["mask"].shape == (1, 8, 8) and set(sample["mask"].unique().tolist()) <= {0.0, 1.0}
        assert len(sample["target"]) == (8 * scale) ** 2
        shares.add(float(sample["mask"].mean()))
    assert len(shares) > 3
    assert float(crops(tmp_path, masks=False)[0]["mask"].max()) == 0


def test_what_has_no_partner_is_named(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    (tmp_path / "hr" / "1.png").unlink()
    with pytest.raises(ik.DataError, match=r"1x2\.png has no partner of its name in .*hr"):
        crops(tmp_path, masks=False)


def test_small_pairs_are_not_mirrored(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    with pytest.raises(ik.DataError, match="mirror is not for pairs"):
        crops(tmp_path, masks=False, too_small="mirror")
    with pytest.raises(ik.DataError, match="3 of 3 pictures are smaller than the largest training crop of 21"):
        crops(tmp_path, masks=False, patch=21)


def test_pairs_train_and_validate_without_a_degradation(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    spec = {"name": "paired", "inputs": str(tmp_path / "lr"), "targets": str(tmp_path / "hr")}
    config = {
        "model": {"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": {"name": "liif", "hidden": [4]}},
        "data": {"dataset": spec, "patch": 8, "points": 16, "held_out": 1},
        "steps": 2,
        "batch": 2,
    }
    result = ik.train(config, output=tmp_path / "run", show=False)
    assert result.scores.keys() == {"psnr", "psnr_x2"}
    with pytest.raises(ik.ConfigError, match="degradation: required, as data.dataset holds clean pictures alone"):
        clean = {**config, "data": {"dataset": {"name": "folders", "folders": [str(tmp_path / "hr")]}, "patch": 8}}
        ik.train(clean, output=tmp_path / "other", show=False)

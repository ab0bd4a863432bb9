"""Masks from a folder: in the bin, at any size, and the same again from a record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import implicitkit as ik
from implicitkit.degradations.base import seeded
from implicitkit.errors import DataError


def ratio_of(seen: ik.Degraded) -> float:
    return seen.mask.double().mean().item()


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """Discs of growing size, 0.02 to 0.5 of the picture, in two folders and two formats."""
    (tmp_path / "more").mkdir()
    rows, columns = np.mgrid[:60, :80]
    for k, radius in enumerate((6, 14, 18, 24, 28)):
        hole = (rows - 30) ** 2 + (columns - 40) ** 2 < radius**2
        name = f"more/{k}.bmp" if k % 2 else f"{k}.png"
        Image.fromarray((hole * 255).astype(np.uint8)).save(tmp_path / name)
    return tmp_path


def test_folder_masks_lie_in_the_bin_at_any_size(masks: Path) -> None:
    degradation = ik.create_degradation("inpainting", kind="folder", folder=str(masks), ratio=[0.1, 0.3])
    used, orientations = set(), set()
    for seed in range(200):
        seen = degradation(torch.zeros(1, *((7, 9), (31, 17), (64, 48))[seed % 3]), seeded(seed))
        assert 0.1 <= ratio_of(seen) <= 0.3
        used.add(seen.record["file"])
        orientations.add((seen.record["mirrored"], seen.record["turns"]))
    assert used == {"more/1.bmp", "2.png"} and len(orientations) == 8


def test_a_folder_mask_is_its_file_resized_nearest(masks: Path) -> None:
    degradation = ik.create_degradation("inpainting", kind="folder", folder=str(masks), augment=False)
    seen = degradation(torch.zeros(3, 30, 40), seeded(3))
    pixels = np.array(Image.open(masks / seen.record["file"]))
    assert np.array_equal(seen.mask[0].numpy(), pixels[1::2, 1::2] / 255)
    inverse = ik.create_degradation("inpainting", kind="folder", folder=str(masks), augment=False, hole="black")
    assert torch.equal(inverse(torch.zeros(3, 30, 40), seeded(3)).mask, 1 - seen.mask)


def test_what_a_folder_cannot_give_is_said(masks: Path, tmp_path: Path) -> None:
    spec: dict[str, Any] = {"name": "inpainting", "kind": "folder", "folder": str(masks)}
    with pytest.raises(DataError, match="none of the 5 masks in .* has a hole ratio from 0.7 to 0.8"):
        ik.create_degradation(spec, ratio=[0.7, 0.8])(torch.zeros(3, 9, 9))
    with pytest.raises(DataError, match="there is no folder"):
        ik.create_degradation({**spec, "folder": str(masks / "none")})
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no pictures"):
        ik.create_degradation({**spec, "folder": str(tmp_path / "empty")})
    degradation = ik.create_degradation(spec)
    record = degradation(torch.zeros(3, 9, 9), seeded(0)).record
    file = masks / record["file"]
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(DataError, match="has changed since"):
        degradation.apply(torch.zeros(3, 9, 9), record)
    file.unlink()
    with pytest.raises(DataError, match="cannot read"):
        degradation.apply(torch.zeros(3, 9, 9), record)


def test_a_folders_masks_need_a_range(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give a range"):
        ik.create_degradation({"name": "inpainting", "kind": "folder", "folder": str(tmp_path), "ratio": 0.3})

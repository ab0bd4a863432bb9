from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import implicitkit as ik
from implicitkit.config import DataConfig
from implicitkit.coordinates import nearest_index
from implicitkit.images.folders import picture_files
from implicitkit.images.io import Picture, write_picture
from implicitkit.losses import missing_at
from implicitkit.training.data import TrainingCrops, hold_out
from oracles import PHOTOS

NOISY = {"name": "noise", "sigma": [1, 20]}
CHAINS: list[list[Any]] = [
    ["blur", {"name": "super_resolution", "scale": [1, 3]}, NOISY, "jpeg"],
    ["inpainting", {"name": "super_resolution", "scale": 2}, NOISY],
    [
        {"name": "super_resolution", "scale": [1, 2]},
        "jpeg",
        {"name": "super_resolution", "scale": [1, 2]},
        "inpainting",
    ],
]

SR = {"name": "super_resolution", "scale": [1, 4]}


def crops(
    folder: Path = PHOTOS, length: int = 100, seed: int = 0, degrade: object = SR, **config: object
) -> TrainingCrops:
    settings = DataConfig(folders=[folder], **{"patch": 12, "points": 50, **config})
    return TrainingCrops(picture_files([folder]), settings, ik.create_degradation(degrade), seed, length)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[k], b[k]) for k in a)


def test_a_crop_depends_on_seed_and_number_alone() -> None:
    first, second = crops(), crops()
    [first[k] for k in (3, 9, 1)]
    torch.manual_seed(99)
    assert all(same(first[k], second[k]) for k in range(10))
    assert not same(first[0], first[1])
    assert not same(first[0], crops(seed=1)[0])


def test_targets_are_the_clean_pictures_values() -> None:
    """With scale 1 and no flips the sampled values are pixels of the encoder's own input."""
    data = TrainingCrops(
        picture_files([PHOTOS]),
        DataConfig(folders=[PHOTOS], patch=12, points=144, flips=False),
        ik.create_degradation("super_resolution", scale=1),
        0,
        5,
    )
    item = data[0]
    read = torch.nn.functional.grid_sample(
        item["image"][None], item["coords"].flip(-1)[None, None], mode="nearest", align_corners=False
    )
    torch.testing.assert_close(read[0, :, 0].t(), item["target"])
    assert item["cell"].tolist() == [[pytest.approx(1 / 6), pytest.approx(1 / 6)]]
    assert len({tuple(c) for c in item["coords"].tolist()}) == 144  # without replacement


def test_shapes_are_the_same_at_every_scale() -> None:
    data = crops(points=500)  # more than a 12x12 crop at scale 1 has
    for k in range(20):
        item = data[k]
        assert item["image"].shape == (3, 12, 12) and item["mask"].shape == (1, 12, 12)
        assert item["coords"].shape == (500, 2) and item["target"].shape == (500, 3)


def test_every_cache_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPLICITKIT_CACHE", str(tmp_path / "cache"))
    expected = [crops()[k] for k in range(4)]
    for cache in ("disk", "none", "disk"):
        data = crops(cache=cache)
        assert all(same(expected[k], data[k]) for k in range(4))
    assert len(list((tmp_path / "cache" / "pictures").glob("*.npy"))) == 3


def test_decoding_happens_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from implicitkit.datasets import base as module

    decoded = []
    original = module.read_pixels
    monkeypatch.setattr(module, "read_pixels", lambda file: decoded.append(file) or original(file))
    data = crops()
    [data[k] for k in range(30)]
    assert sorted(decoded) == picture_files([PHOTOS])


def test_small_pictures_are_refused_left_out_or_mirrored(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for name, side in (("small.png", 20), ("large.png", 64)):
        write_picture(tmp_path / name, Picture(noise.integers(0, 256, (side, side, 3), dtype=np.uint8)))
    with pytest.raises(ik.DataError, match=r"1 of 2 pictures are smaller.*small\.png: 20×20"):
        crops(tmp_path)
    skipped = crops(tmp_path, too_small="skip")
    assert skipped.dropped == 1 and len(skipped.usable) == 1
    mirrored = crops(tmp_path, too_small="mirror")
    assert len(mirrored.usable) == 2
    [mirrored[k] for k in range(20)]
    with pytest.raises(ik.DataError, match="all 2 pictures"):
        crops(tmp_path, too_small="skip", patch=40)


def test_area_sampling_prefers_large_pictures(tmp_path: Path) -> None:
    for name, side, value in (("a.png", 50, 0), ("b.png", 150, 255)):
        write_picture(tmp_path / name, Picture(np.full((side, side, 3), value, np.uint8)))
    share = {
        s: np.mean([float(crops(tmp_path, sampling=s)[k]["target"].mean()) for k in range(100)])
        for s in ("uniform", "area")
    }
    assert abs(share["uniform"] - 0.5) < 0.2
    assert share["area"] > 0.8  # 22500 of 25000 pixels


def test_holding_out_is_even_and_complete() -> None:
    files = [Path(f"{k}.png") for k in range(10)]
    train, held = hold_out(files, 3)
    assert sorted(train + held) == sorted(files) and len(held) == 3
    assert [f.stem for f in held] == ["1", "5", "8"]
    assert hold_out(files, 0) == (files, [])
    with pytest.raises(ik.DataError, match="keep some"):
        hold_out(files, 10)


def test_points_can_be_drawn_where_pixels_are_missing() -> None:
    data = crops(points=100, in_holes=0.75, degrade={"name": "inpainting", "kind": "boxes", "ratio": [0.1, 0.3]})
    item = data[0]
    inside = missing_at(item["mask"][None], item["coords"][None])[0, :, 0]
    assert bool((inside[:75] == 1).all()) and float(inside[75:].mean()) < 0.9
    size = item["mask"].shape[1:]
    at = torch.stack([nearest_index(item["coords"][:, k], size[k]) for k in range(2)])
    assert torch.equal(item["target"], data[0]["target"])
    known = inside == 0
    assert torch.equal(item["target"][known], item["image"][:, at[0], at[1]].t()[known])
    whole = crops(points=100, in_holes=0.75, degrade={"name": "noise"})[0]
    assert whole["coords"].shape == (100, 2)  # no hole: the points stay as they are


def spelt(spec: Any) -> str:
    return " ".join(map(spelt, spec)) if isinstance(spec, list) else spec if isinstance(spec, str) else str(spec)


@pytest.mark.parametrize("spec", CHAINS, ids=spelt)
def test_chains_make_training_crops(spec: Any) -> None:
    config = DataConfig(folders=[str(PHOTOS)], patch=12, points=16)
    crops = TrainingCrops(picture_files([PHOTOS])[:1], config, ik.create_degradation(spec), seed=0, length=4)
    for sample in (crops[k] for k in range(4)):
        assert sample["image"].shape == (3, 12, 12) and sample["mask"].shape == (1, 12, 12)
        assert sample["mask"].any() == ("inpainting" in spelt(spec))

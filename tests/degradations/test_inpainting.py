from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import implicitkit as ik
from implicitkit.degradations.base import Chain, seeded
from implicitkit.degradations.masks import Bin, adjust, centred, cover
from implicitkit.errors import DataError

DRAWN = ["strokes", "boxes", "scattered"]
RECTANGULAR = ["centre", "outpainting"]


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


@pytest.mark.parametrize("kind", [*DRAWN, *RECTANGULAR])
@pytest.mark.parametrize("bin", [(0.01, 0.1), (0.2, 0.4), (0.4, 0.6)])
def test_every_mask_lies_in_the_bin_and_they_fill_it_evenly(kind: str, bin: tuple[float, float]) -> None:
    degradation = ik.create_degradation("inpainting", kind=kind, ratio=list(bin))
    picture = torch.rand(1, 40, 36)
    ratios = torch.tensor([ratio_of(degradation(picture, seeded(k))) for k in range(200)], dtype=torch.float64)
    low, high = bin
    assert ratios.min() >= low and ratios.max() <= high
    # uniform in the bin: four standard errors of the mean, and what rounding to rectangles may add
    assert abs(ratios.mean() - (low + high) / 2) < 4 * ((high - low) / 12**0.5) / 200**0.5 + 0.003
    assert ratios.max() - ratios.min() > (0.5 if kind in RECTANGULAR else 0.9) * (high - low)


@pytest.mark.parametrize("kind", [*DRAWN, *RECTANGULAR])
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.floats(0, 1).map(lambda x: round(x, 3)),
    st.floats(0, 0.3).map(lambda x: round(x, 3)),
    st.integers(0, 9),
)
@settings(max_examples=25, deadline=None)
def test_a_bin_is_met_or_refused(kind: str, size: tuple[int, int], low: float, width: float, seed: int) -> None:
    high = min(1.0, round(low + width, 3))
    degradation = ik.create_degradation("inpainting", kind=kind, ratio=[low, high])
    picture, pixels = torch.rand(3, *size), size[0] * size[1]
    inside = [n for n in range(pixels + 1) if Fraction(str(low)) * pixels <= n <= Fraction(str(high)) * pixels]
    if kind in RECTANGULAR:  # of these numbers, only those that a rectangle, or all but one, has
        made = {h * w for h in range(size[0] + 1) for w in range(size[1] + 1)}
        inside = [n for n in inside if (n if kind == "centre" else pixels - n) in made]
    if not inside:
        with pytest.raises(ValueError, match="make the (ratio's )?bin wider"):
            degradation(picture, seeded(seed))
        return
    seen = degradation(picture, seeded(seed))
    assert int(seen.mask.sum()) in inside
    assert low <= ratio_of(seen) <= high


@pytest.mark.parametrize("size", [(64, 64), (24, 90)])
def test_strokes_are_few_thick_pieces(size: tuple[int, int]) -> None:
    from scipy import ndimage

    degradation = ik.create_degradation("inpainting", ratio=[0.1, 0.3])
    for seed in range(20):
        mask = degradation(torch.zeros(3, *size), seeded(seed)).mask[0].bool().numpy()
        assert ndimage.label(mask)[1] <= 25
        opened = ndimage.binary_opening(mask, np.ones((2, 2), bool))  # next to nothing is thinner than two pixels
        assert opened.sum() > 0.8 * mask.sum()


def test_no_part_of_the_picture_is_spared() -> None:
    for kind in ("strokes", "scattered"):
        degradation = ik.create_degradation("inpainting", kind=kind, ratio=[0.3, 0.5])
        often = sum(degradation(torch.zeros(1, 24, 24), seeded(k)).mask[0] for k in range(200)) / 200
        blocks = torch.nn.functional.avg_pool2d(often[None], 4)
        assert blocks.min() > 0.25 and blocks.max() < 0.55, kind


def test_fixed_shapes() -> None:
    picture = torch.rand(3, 8, 12)
    centre = ik.create_degradation("inpainting", kind="centre")(picture).mask[0]
    expected = torch.zeros(8, 12)
    expected[2:6, 3:9] = 1
    assert torch.equal(centre, expected)
    outside = ik.create_degradation("inpainting", kind="outpainting")(picture).mask[0]
    assert torch.equal(outside, 1 - expected)
    for side, part in (
        ("left", np.s_[:, :6]),
        ("right", np.s_[:, 6:]),
        ("top", np.s_[:4]),
        ("bottom", np.s_[4:]),
    ):
        mask = ik.create_degradation("inpainting", kind="half", sides=side)(picture).mask[0]
        assert mask[part].eq(1).all() and mask.sum() == 48
    half = ik.create_degradation("inpainting", kind="half")
    assert {half.sample((3, 8, 8), seeded(k))["side"] for k in range(60)} == {"left", "right", "top", "bottom"}


def test_half_of_an_odd_picture_is_the_half_in_the_bin() -> None:
    picture = torch.rand(3, 5, 5)
    assert ik.create_degradation("inpainting", kind="half")(picture).mask.sum() == 10
    assert ik.create_degradation("inpainting", kind="half", ratio=[0.5, 0.7])(picture).mask.sum() == 15
    with pytest.raises(ValueError, match="half of a picture of 5×5 has no hole ratio from 0.45 to 0.55"):
        ik.create_degradation("inpainting", kind="half", ratio=[0.45, 0.55])(picture)


def test_missing_pixels_are_filled_and_others_kept() -> None:
    picture = torch.rand(2, 3, 20, 20)
    for fill, expected in ((0.25, [0.25] * 3), ([1, 0, 0.5], [1, 0, 0.5])):
        seen = ik.create_degradation("inpainting", fill=fill)(picture, seeded(0))
        hole = seen.mask.bool().expand_as(picture)
        assert torch.equal(seen.image[~hole], picture[~hole])
        assert torch.equal(seen.image[hole], torch.tensor(expected)[:, None, None].expand(2, 3, 20, 20)[hole])
    with pytest.raises(ValueError, match="fill has 3 values for a picture of 1 channels"):
        ik.create_degradation("inpainting", fill=[1, 0, 0])(picture[:, :1])


def test_filling_with_noise_and_with_the_mean() -> None:
    picture = torch.rand(3, 40, 40)
    seen = ik.create_degradation("inpainting", ratio=[0.5, 0.6], fill="noise")(picture, seeded(0))
    noise = seen.image[seen.mask.bool().expand_as(picture)]
    assert abs(noise.mean() - 0.5) < 4 * 12**-0.5 / len(noise) ** 0.5 and noise.unique().numel() > 0.9 * len(noise)
    seen = ik.create_degradation("inpainting", ratio=[0.5, 0.6], fill="mean")(picture, seeded(0))
    known = seen.mask[0] == 0
    for ours, clean in zip(seen.image, picture, strict=True):
        torch.testing.assert_close(ours[~known], clean[known].mean().expand(int((~known).sum())))
    assert ik.create_degradation("inpainting", ratio=1, fill="mean")(picture).image.eq(0.5).all()


def test_holes_add_up_in_a_chain() -> None:
    steps = [{"name": "inpainting", "kind": "half", "sides": side, "fill": 1} for side in ("left", "top")]
    seen = ik.create_degradation(steps)(torch.zeros(3, 8, 8))
    assert torch.equal(seen.mask[0, 4:, 4:], torch.zeros(4, 4)) and seen.mask.sum() == 48
    assert torch.equal(seen.image, seen.mask.expand(3, 8, 8))


def test_a_record_fits_a_training_crop_of_another_size() -> None:
    chain = ik.create_degradation(
        ["blur", {"name": "super_resolution", "scale": [1, 3]}, {"name": "inpainting", "ratio": [0.2, 0.3]}, "jpeg"]
    )
    for seed in range(10):
        record = chain.sample((3, 200, 300), seeded(seed))
        source = chain.source_size((16, 16), record)
        seen = chain.apply(torch.rand(3, *source), record)
        assert seen.image.shape == (3, 16, 16) and source[0] - 1 <= seen.reference.shape[1] <= source[0]
        assert 0.2 <= ratio_of(seen) <= 0.3


def test_a_batch_through_a_chain_shares_its_scale_but_not_its_holes() -> None:
    chain = ik.create_degradation([{"name": "super_resolution", "scale": [1.5, 3]}, "inpainting", "noise"])
    seen = chain(torch.rand(4, 3, 30, 30), seeded(0))
    assert isinstance(chain, Chain)
    assert len({str(r["steps"][0]) for r in seen.record}) == 1
    assert len({str(r["steps"][1]) for r in seen.record}) == len({str(r["steps"][2]) for r in seen.record}) == 4
    assert not torch.equal(seen.mask[0], seen.mask[1])


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


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 144), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_adjusting_moves_the_edge_to_the_exact_count(height: int, width: int, count: int, seed: int) -> None:
    before = np.random.default_rng(seed).random((height, width)) < 0.3
    count = min(count, height * width)
    after = adjust(before, count)
    assert after.sum() == count
    assert (after >= before).all() if count >= before.sum() else (after <= before).all()


def test_covering_with_no_shapes_grows_from_the_middle() -> None:
    assert cover((5, 5), 1, []).nonzero() == (np.array([2]), np.array([2]))
    assert cover((5, 5), 25, []).all() and not cover((5, 5), 0, []).any()


def test_a_centred_rectangle_is_centred_and_has_the_pictures_aspect() -> None:
    mask = centred((60, 30), Bin.of(0.2, 0.3), 0.25)
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (15, 44, 7, 21)


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": "hole"},
        {"ratio": [0.4, 0.2]},
        {"ratio": 1.5},
        {"kind": "half", "ratio": [0.1, 0.2]},
        {"fill": 2},
        {"fill": []},
        {"fill": "black"},
        {"sides": "middle"},
        {"sides": []},
        {"kind": "folder"},
        {"folder": "somewhere"},
        {"hole": "grey"},
    ],
)
def test_impossible_settings_are_named(arguments: dict[str, Any]) -> None:
    with pytest.raises((ValueError, ik.ArgumentError), match="received"):
        ik.create_degradation("inpainting", **arguments)


@pytest.mark.parametrize("kind", ["strokes", "boxes", "scattered", "centre", "outpainting"])
def test_a_single_ratio_is_met_as_nearly_as_pixels_can(kind: str) -> None:
    degrade = ik.create_degradation({"name": "inpainting", "kind": kind, "ratio": 0.3})
    seen = degrade(torch.rand(3, 48, 47), generator=torch.Generator().manual_seed(1))
    one_line = 48 if kind in ("centre", "outpainting") else 1
    assert abs(float(seen.mask.sum()) - 0.3 * 48 * 47) <= one_line


def test_a_folders_masks_need_a_range(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give a range"):
        ik.create_degradation({"name": "inpainting", "kind": "folder", "folder": str(tmp_path), "ratio": 0.3})

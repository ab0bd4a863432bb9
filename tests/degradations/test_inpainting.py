from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import implicitkit as ik
from implicitkit.degradations.base import seeded

DRAWN = ["strokes", "boxes", "scattered"]
RECTANGULAR = ["centre", "outpainting"]


def ratio_of(seen: ik.Degraded) -> float:
    return seen.mask.double().mean().item()


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
    with pytest.raises(ValueError, match="half of a picture of 5×5 pixels has no hole ratio from 0.45 to 0.55"):
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

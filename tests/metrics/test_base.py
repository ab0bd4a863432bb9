"""What holds for every metric."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import implicitkit as ik
from implicitkit.metrics import l1, psnr, psnr_y

WITHOUT_WEIGHTS = ("psnr", "psnr_y", "ssim", "ssim_gaussian", "l1")


def arrays(*pictures: torch.Tensor) -> list[np.ndarray]:
    return [p.double().numpy() for p in pictures]


def test_every_metric_is_registered_with_its_direction() -> None:
    assert set(ik.list_metrics()) == {*WITHOUT_WEIGHTS, "lpips", "lpips_alex", "lpips_squeeze"}
    higher = {name: ik.create_metric(name).higher_is_better for name in WITHOUT_WEIGHTS}
    assert higher == {"psnr": True, "psnr_y": True, "ssim": True, "ssim_gaussian": True, "l1": False}
    assert all(ik.create_metric(name).name == name for name in WITHOUT_WEIGHTS)


def test_a_pixels_mask_restricts_the_mean(clean: torch.Tensor, noisy: torch.Tensor, hole: torch.Tensor) -> None:
    inside = hole[0].numpy() > 0
    difference = arrays(noisy)[0][:, inside] - arrays(clean)[0][:, inside]
    assert l1(noisy, clean, mask=hole) == pytest.approx(np.abs(difference).mean(), abs=1e-12)
    assert psnr(noisy, clean, mask=hole) == pytest.approx(-10 * math.log10((difference**2).mean()), abs=1e-9)
    luma = np.tensordot([65.738, 129.057, 25.064], difference, 1) / 256
    assert psnr_y(noisy, clean, mask=hole) == pytest.approx(-10 * math.log10((luma**2).mean()), abs=1e-9)


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_what_holds_for_every_metric(name: str, clean: torch.Tensor, noisy: torch.Tensor, hole: torch.Tensor) -> None:
    metric, shaving = ik.create_metric(name), ik.create_metric({"name": name, "shave": 4})
    assert isinstance(metric(noisy, clean), float) and metric.spec == {"name": name}
    assert metric(noisy, clean, torch.ones(1, 97, 101)) == pytest.approx(metric(noisy, clean), abs=1e-12)
    assert math.isnan(metric(noisy, clean, torch.zeros(1, 97, 101)))
    cut = (slice(None), slice(4, -4), slice(4, -4))
    assert shaving(noisy, clean, hole) == pytest.approx(metric(noisy[cut], clean[cut], hole[cut]), abs=1e-12)
    assert metric(torch.stack([noisy] * 2), torch.stack([clean] * 2), hole) == pytest.approx(
        metric(noisy, clean, hole), abs=1e-12
    )
    worse = (clean + 0.4 * torch.rand_like(clean)).clamp(0, 1)
    assert (metric(worse, clean) < metric(noisy, clean)) == metric.higher_is_better


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_wrong_input_is_named(name: str, clean: torch.Tensor) -> None:
    metric = ik.create_metric(name)
    with pytest.raises(ValueError, match=r"prediction \(3, 96, 101\) and target \(3, 97, 101\)"):
        metric(clean[:, :-1], clean)
    with pytest.raises(ValueError, match="received torch.uint8"):
        metric(clean.to(torch.uint8), clean.to(torch.uint8))
    with pytest.raises(ValueError, match=r"\(..., 1, 97, 101\) here; received \(3, 97, 101\)"):
        metric(clean, clean, clean)
    with pytest.raises(ValueError, match="a picture of 101×97 has nothing left after shaving 60"):
        ik.create_metric(name, shave=60)(clean, clean)
    with pytest.raises(ValueError, match="received -1"):
        ik.create_metric(name, shave=-1)(clean, clean)


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_a_truth_of_0_to_255_is_refused(name: str) -> None:
    truth = torch.rand(3, 16, 16) * 255
    with pytest.raises(ValueError, match=f"{name} compares pictures in .* received a truth of up to"):
        ik.create_metric(name)(truth / 255, truth)
    assert math.isfinite(ik.create_metric(name)(truth, truth / 255))  # a diverged network has a score

"""Every metric against scikit-image or a slow literal version."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import implicitkit as ik
from implicitkit.metrics import l1, psnr, psnr_y, ssim
from oracles import PHOTOS

WITHOUT_WEIGHTS = ("psnr", "psnr_y", "ssim", "ssim_gaussian", "l1")
SCIKIT = {
    "ssim": {"win_size": 7},
    "ssim_gaussian": {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},  # Wang et al.'s
}


@pytest.fixture
def clean() -> torch.Tensor:
    return ik.read_image(PHOTOS / "chelsea.png")[:, 60:157, 100:201]


@pytest.fixture
def noisy(clean: torch.Tensor) -> torch.Tensor:
    return (clean + 0.1 * torch.rand_like(clean)).clamp(0, 1)


@pytest.fixture
def hole(clean: torch.Tensor) -> torch.Tensor:
    mask = torch.zeros(1, *clean.shape[1:])
    mask[:, 10:40, 0:50] = 1
    mask[:, 70:75, 90:] = 1
    return mask


def arrays(*pictures: torch.Tensor) -> list[np.ndarray]:
    return [p.double().numpy() for p in pictures]


def luma_mse(d: list[list[list[float]]], rows: range, columns: range) -> float:
    squares = [
        ((65.738 * d[0][y][x] + 129.057 * d[1][y][x] + 25.064 * d[2][y][x]) / 256) ** 2 for y in rows for x in columns
    ]
    return sum(squares) / len(squares)


def test_every_metric_is_registered_with_its_direction() -> None:
    assert set(ik.list_metrics()) == {*WITHOUT_WEIGHTS, "lpips", "lpips_alex", "lpips_squeeze"}
    higher = {name: ik.create_metric(name).higher_is_better for name in WITHOUT_WEIGHTS}
    assert higher == {"psnr": True, "psnr_y": True, "ssim": True, "ssim_gaussian": True, "l1": False}
    assert all(ik.create_metric(name).name == name for name in WITHOUT_WEIGHTS)


def test_psnr_is_scikit_images(clean: torch.Tensor, noisy: torch.Tensor) -> None:
    theirs = peak_signal_noise_ratio(*arrays(clean, noisy), data_range=1)
    assert psnr(noisy, clean) == pytest.approx(theirs, abs=1e-9)
    assert psnr(clean, clean) == math.inf


def test_luma_psnr_is_the_literal_formula(clean: torch.Tensor, noisy: torch.Tensor) -> None:
    d = (noisy.double() - clean.double()).tolist()
    expected = -10 * math.log10(luma_mse(d, range(3, 94), range(3, 98)))
    assert psnr_y(noisy, clean, shave=3) == pytest.approx(expected, abs=1e-9)
    rectangle = -10 * math.log10(luma_mse(d, range(97), range(20, 81)))
    assert psnr_y(noisy, clean, shave=(0, 20)) == pytest.approx(rectangle, abs=1e-9)
    assert psnr_y(noisy[:1], clean[:1]) == psnr(noisy[:1], clean[:1])  # grey counts as it is


def test_l1_is_the_mean_absolute_difference(clean: torch.Tensor, noisy: torch.Tensor) -> None:
    x, y = arrays(noisy, clean)
    assert l1(noisy, clean) == pytest.approx(np.abs(x - y).mean(), abs=1e-12)
    assert l1(noisy, clean, shave=5) == pytest.approx(np.abs(x - y)[:, 5:-5, 5:-5].mean(), abs=1e-12)


@pytest.mark.parametrize("name", SCIKIT)
def test_ssim_is_scikit_images(name: str, clean: torch.Tensor, noisy: torch.Tensor) -> None:
    """To 1e-9: both compute in float64, with sums in another order."""
    metric, (x, y) = ik.create_metric(name), arrays(noisy, clean)
    theirs = structural_similarity(x, y, channel_axis=0, data_range=1, **SCIKIT[name])
    assert metric(noisy, clean) == pytest.approx(theirs, abs=1e-9)
    assert 0.1 < theirs < 0.99 and metric(clean, clean) == pytest.approx(1, abs=1e-9)
    grey = structural_similarity(x[0], y[0], data_range=1, **SCIKIT[name])
    assert metric(noisy[:1], clean[:1]) == pytest.approx(grey, abs=1e-9)


@pytest.mark.parametrize("name", SCIKIT)
def test_ssim_of_8_bit_pictures_is_scikit_images_of_uint8(name: str, clean: torch.Tensor, noisy: torch.Tensor) -> None:
    x, y = ((p * 255).round().to(torch.uint8).numpy() for p in (noisy, clean))
    theirs = structural_similarity(x, y, channel_axis=0, **SCIKIT[name])
    ours = ik.create_metric(name)(*(torch.from_numpy(p).double() / 255 for p in (x, y)))
    assert ours == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("name", SCIKIT)
def test_ssim_of_a_hole_is_the_mean_of_the_map_there(
    name: str, clean: torch.Tensor, noisy: torch.Tensor, hole: torch.Tensor
) -> None:
    _, theirs = structural_similarity(*arrays(noisy, clean), channel_axis=0, data_range=1, full=True, **SCIKIT[name])
    pad = {"ssim": 3, "ssim_gaussian": 5}[name]
    inside = np.zeros(hole.shape[1:], dtype=bool)
    inside[pad:-pad, pad:-pad] = hole[0, pad:-pad, pad:-pad].numpy() > 0
    assert ik.create_metric(name)(noisy, clean, hole) == pytest.approx(theirs[:, inside].mean(), abs=1e-9)


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


@given(height=st.integers(7, 20), width=st.integers(7, 20), channels=st.sampled_from([1, 3]), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_ssim_is_scikit_images_at_any_size(height: int, width: int, channels: int, seed: int) -> None:
    x, y = torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    theirs = structural_similarity(x.numpy(), y.numpy(), channel_axis=0, data_range=1)
    assert ssim(x, y) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_wrong_input_is_named(name: str, clean: torch.Tensor) -> None:
    metric = ik.create_metric(name)
    with pytest.raises(ValueError, match=r"prediction \(3, 96, 101\) and target \(3, 97, 101\)"):
        metric(clean[:, :-1], clean)
    with pytest.raises(ValueError, match="received torch.uint8"):
        metric(clean.to(torch.uint8), clean.to(torch.uint8))
    with pytest.raises(ValueError, match=r"\(..., 1, 97, 101\) here; received \(3, 97, 101\)"):
        metric(clean, clean, clean)
    with pytest.raises(ValueError, match="a picture of 97×101 has nothing left after shaving 60"):
        ik.create_metric(name, shave=60)(clean, clean)
    with pytest.raises(ValueError, match="received -1"):
        ik.create_metric(name, shave=-1)(clean, clean)


def test_a_window_must_fit() -> None:
    with pytest.raises(ValueError, match="the 7×7 window of ssim does not fit a picture of 6×9"):
        ssim(torch.rand(3, 6, 9), torch.rand(3, 6, 9))
    with pytest.raises(ValueError, match="received 'square'"):
        ssim(torch.rand(3, 9, 9), torch.rand(3, 9, 9), window="square")  # type: ignore[arg-type]
    with pytest.raises(ik.ArgumentError, match="input should be 'uniform' or 'gaussian'"):
        ik.create_metric("ssim", window="square")

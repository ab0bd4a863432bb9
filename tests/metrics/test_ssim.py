"""SSIM against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

import implicitkit as ik
from implicitkit.metrics import ssim

SCIKIT = {
    "ssim": {"win_size": 7},
    "ssim_gaussian": {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},  # Wang et al.'s
}


def arrays(*pictures: torch.Tensor) -> list[np.ndarray]:
    return [p.double().numpy() for p in pictures]


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


@given(height=st.integers(7, 20), width=st.integers(7, 20), channels=st.sampled_from([1, 3]), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_ssim_is_scikit_images_at_any_size(height: int, width: int, channels: int, seed: int) -> None:
    x, y = torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    theirs = structural_similarity(x.numpy(), y.numpy(), channel_axis=0, data_range=1)
    assert ssim(x, y) == pytest.approx(theirs, abs=1e-9)


def test_a_window_must_fit() -> None:
    with pytest.raises(ValueError, match="the 7×7 window of ssim does not fit a picture of 9×6"):
        ssim(torch.rand(3, 6, 9), torch.rand(3, 6, 9))
    with pytest.raises(ValueError, match="received 'square'"):
        ssim(torch.rand(3, 9, 9), torch.rand(3, 9, 9), window="square")  # type: ignore[arg-type]
    with pytest.raises(ik.ArgumentError, match="input should be 'uniform' or 'gaussian'"):
        ik.create_metric("ssim", window="square")

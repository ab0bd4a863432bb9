"""Focal frequency loss against a slow literal version."""

from __future__ import annotations

import cmath
import math

import pytest
import torch

import implicitkit as ik


def literal(prediction: torch.Tensor, truth: torch.Tensor, alpha: float) -> float:
    """Equations 8 to 10 of the paper, sum by sum; the transform is orthonormal, as in the authors' code."""
    batch, channels, height, width = truth.shape
    difference, terms = (prediction - truth).tolist(), []
    for picture in difference:
        for channel in picture:
            lengths = []
            for u in range(height):
                for v in range(width):
                    coefficient = sum(
                        channel[y][x] * cmath.exp(-2j * cmath.pi * (u * y / height + v * x / width))
                        for y in range(height)
                        for x in range(width)
                    )
                    lengths.append(abs(coefficient) / math.sqrt(height * width))
            largest = max(length**alpha for length in lengths)
            terms += [length**alpha / largest * length**2 for length in lengths]
    assert len(terms) == batch * channels * height * width
    return sum(terms) / len(terms)


def points(pictures: torch.Tensor) -> torch.Tensor:
    return pictures.flatten(2).transpose(1, 2)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0])
def test_is_the_literal_formula(alpha: float) -> None:
    """To 1e-5 relative: float32, sums in another order."""
    generator = torch.Generator().manual_seed(0)
    prediction, truth = torch.rand(2, 2, 3, 5, 6, generator=generator)
    loss = ik.create_loss({"name": "focal_frequency", "alpha": alpha})
    found = loss(ik.Prediction(points(prediction), {}), {"target": points(truth), "window": (5, 6)})
    assert found.item() == pytest.approx(literal(prediction.double(), truth.double(), alpha), rel=1e-5)
    if alpha == 0:
        assert found.item() == pytest.approx((prediction - truth).square().mean().item(), rel=1e-5)


def test_weights_have_no_gradient_and_the_truth_has_none_at_all() -> None:
    truth = torch.rand(1, 3, 4, 4)
    prediction = (truth + torch.randn(1, 3, 4, 4)).requires_grad_()
    loss = ik.create_loss("focal_frequency").of(prediction, truth)
    (gradient,) = torch.autograd.grad(loss, prediction)
    spectrum = torch.fft.fft2(prediction.detach() - truth, norm="ortho")
    weight = spectrum.abs() / spectrum.abs().amax((2, 3), keepdim=True)
    wanted = 2 * torch.fft.ifft2(weight * spectrum, norm="ortho").real / truth.numel()
    torch.testing.assert_close(gradient, wanted, atol=1e-6, rtol=1e-4)
    at_truth = truth.clone().requires_grad_()
    loss = ik.create_loss("focal_frequency").of(at_truth, truth)
    (gradient,) = torch.autograd.grad(loss, at_truth)
    assert loss.item() == 0 and not gradient.any() and gradient.isfinite().all()


def test_alpha_is_checked() -> None:
    for alpha in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"finite alpha of at least 0; received {alpha}"):
            ik.create_loss("focal_frequency", alpha=alpha)

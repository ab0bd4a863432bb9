"""PSNR against scikit-image, and of the luma against a literal version."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from implicitkit.metrics import psnr, psnr_y


def arrays(*pictures: torch.Tensor) -> list[np.ndarray]:
    return [p.double().numpy() for p in pictures]


def luma_mse(d: list[list[list[float]]], rows: range, columns: range) -> float:
    squares = [
        ((65.738 * d[0][y][x] + 129.057 * d[1][y][x] + 25.064 * d[2][y][x]) / 256) ** 2 for y in rows for x in columns
    ]
    return sum(squares) / len(squares)


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

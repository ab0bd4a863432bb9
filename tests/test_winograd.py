"""The training benchmark's convolution is a convolution."""

from __future__ import annotations

import runpy

import pytest
import torch
import torch.nn.functional as F
from support import ROOT

conv2d = runpy.run_path(str(ROOT / "benchmarks" / "train_winograd.py"))["conv2d"]


@pytest.mark.parametrize("shape", [(2, 32, 8, 12, 40), (1, 33, 4, 4, 32)])
def test_winograd_equals_the_direct_convolution(shape: tuple[int, ...]) -> None:
    n, c, h, w, k = shape
    x = torch.randn(n, c, h, w, requires_grad=True)
    weight = (torch.randn(k, c, 3, 3) / 10).requires_grad_()
    bias = torch.randn(k, requires_grad=True)
    upstream = torch.randn(n, k, h, w)
    results = []
    for convolve in (conv2d, F.conv2d):
        y = convolve(x, weight, bias, 1, 1)
        results.append([y, *torch.autograd.grad(y, (x, weight, bias), upstream)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=3e-5 * float(expected.detach().abs().max()))


def test_what_does_not_suit_it_is_left_alone() -> None:
    x, weight = torch.randn(1, 32, 7, 9, requires_grad=True), torch.randn(32, 32, 3, 3)
    assert torch.equal(conv2d(x, weight, None, 1, 1), F.conv2d(x, weight, None, 1, 1))
    assert torch.equal(conv2d(x, weight, None, 2, 1), F.conv2d(x, weight, None, 2, 1))

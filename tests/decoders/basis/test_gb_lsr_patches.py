"""GB-LSR's decoder of patches, against its formula."""

import math

import pytest
import torch

import implicitkit as ik
from implicitkit import testing
from implicitkit.decoders.base import Inputs
from implicitkit.encoders.base import Features


@torch.no_grad()
def test_equals_the_literal_formula_at_the_pictures_own_pixels() -> None:
    patch, order = 4, 5
    decoder = ik.create_decoder("gb_lsr_patches", in_channels=6, order=order, patch=patch, orders=[1.0, 4.0])
    decoder.bandwidth.fill_(0.3)
    map = torch.randn(1, 6, 2, 3)
    latent = decoder.prepare(Features(map, (8, 12)), Inputs(torch.zeros(1, 3, 8, 12)), {})
    axes = [(2 * torch.arange(n) + 1) / n - 1 for n in (8, 12)]
    ours = decoder.query_grid(latent, axes, None, {}) * 0.5 + 0.5
    sigmoid = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    width = math.exp(math.log(0.25) + math.log(2 / 0.25) * sigmoid(0.3))
    basis = lambda u, i: (  # noqa: E731
        1.0 if i == 0 else (math.cos if i % 2 else math.sin)(math.pi * ((i + 1) // 2) * u * width)
    )
    for y, x in ((0, 0), (3, 7), (5, 11)):
        cell, (u, v) = map[0, :, y // patch, x // patch], (2 * (k % patch) / (patch - 1) - 1 for k in (y, x))
        highest = 1 + 3 * sigmoid(float(decoder.cut.weight[0, :, 0, 0] @ cell + decoder.cut.bias[0]))
        raw = (decoder.project.weight[:, :, 0, 0] @ cell + decoder.project.bias).reshape(3, order, order)
        for colour in range(3):
            value = sum(
                float(raw[colour, i, j]) * sigmoid(4 * (highest - max(i, j))) * basis(u, i) * basis(v, j)
                for i in range(order)
                for j in range(order)
            )
            assert abs(value - float(ours[0, colour, y, x])) < 1e-5


def test_contract() -> None:
    testing.check_decoder({"name": "gb_lsr_patches", "order": 3})


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"ranges from low to high; received .*bandwidths=\[2.0, 1.0\]"):
        ik.create_decoder("gb_lsr_patches", bandwidths=[2, 1])

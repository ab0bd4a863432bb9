"""Parameters and multiplications counted by hand."""

from __future__ import annotations

import pytest
import torch

import implicitkit as ik
from implicitkit.evaluation.costs import count_macs, count_parameters


def test_macs_of_liif_by_hand() -> None:
    """EDSR's convolutions at every pixel; LIIF's first layer once per pixel, the rest at four neighbours per query."""
    height, width, out = 12, 10, (30, 25)
    encoder = {"name": "edsr", "blocks": 2, "channels": 8, "res_scale": 1.0}
    model = ik.create_model({"encoder": encoder, "decoder": {"name": "liif", "hidden": [16, 5]}}).eval()
    image = torch.rand(3, height, width)
    head, blocks, tail = 9 * 3 * 8, 2 * 2 * 9 * 8 * 8, 9 * 8 * 8
    per_pixel = head + blocks + tail + 9 * 8 * 16  # the last: the first layer's share of the unfolded features
    geometry = 4 * 16  # offset and cell
    per_query = 4 * (geometry + 16 * 5 + 5 * 3)
    by_hand = height * width * per_pixel + out[0] * out[1] * per_query
    # what else is a matrix product (the cell's share, once per picture; weights and blending) is less than a 25th of it
    assert count_macs(lambda: model.encode(image).render(out)) == pytest.approx(by_hand, rel=0.04)


def test_macs_grow_with_the_pictures() -> None:
    model = ik.create_model(
        {"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": {"name": "liif", "hidden": [4]}}
    ).eval()
    counted = [count_macs(lambda: model.encode(torch.rand(3, n, n)).render((2 * n, 2 * n))) for n in (8, 16)]
    assert counted[1] == pytest.approx(4 * counted[0], rel=0.01)


def test_attention_is_counted() -> None:
    spec = {"name": "timm:vit_tiny_patch16_224", "out_channels": 8, "out_indices": [0], "options": {"depth": 1}}
    model = ik.create_model({"encoder": spec, "decoder": {"name": "nearest"}}).eval()
    image, size = torch.rand(3, 224, 224), (4, 4)
    tokens, width = 14 * 14 + 1, 192
    products = 2 * tokens * tokens * width  # queries by keys, and weights by values
    layers = tokens * (4 * width * width + 8 * width * width)
    embedded = 14 * 14 * 16 * 16 * 3 * width
    counted = count_macs(lambda: model.encode(image).render(size))
    assert counted == pytest.approx(products + layers + embedded, rel=0.05)
    assert counted > layers + embedded + 0.9 * products


def test_frozen_parameters_are_told_apart() -> None:
    decoder = {"name": "liif", "hidden": [4], "trainable": False}
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": decoder})
    counted = count_parameters(model)
    encoder, rest = (sum(p.numel() for p in part.parameters()) for part in (model.encoder, model.decoder))
    assert counted == (encoder + rest, encoder)

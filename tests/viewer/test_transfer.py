"""Bytes for the page are the pixels that a file would hold."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from implicitkit.images.io import Picture, to_pixels
from implicitkit.viewer.transfer import as_file, encode, to_canvas


def test_a_canvas_holds_what_a_file_would() -> None:
    values = torch.rand(3, 7, 9) * 1.4 - 0.2
    canvas = to_canvas(values)
    assert np.array_equal(canvas[..., :3], to_pixels(values)) and (canvas[..., 3] == 255).all()
    large = np.zeros((20, 20, 4), np.uint8)
    to_canvas(values, large[3:10, 5:14])
    assert np.array_equal(large[3:10, 5:14], canvas) and not large[:3].any() and not large[:, 14:].any()


@pytest.mark.parametrize("format", ["png", "jpeg", "raw"])
def test_each_format_is_the_picture(format: str) -> None:
    canvas = to_canvas(torch.linspace(0, 1, 3 * 16 * 24).view(3, 16, 24))
    data = encode(canvas, format)
    if format == "raw":
        assert data == canvas.tobytes()
        return
    read = np.asarray(Image.open(io.BytesIO(data)))
    assert read.shape == (16, 24, 3)
    assert np.abs(read.astype(int) - canvas[..., :3]).max() <= (8 if format == "jpeg" else 0)


def test_transparency_travels() -> None:
    canvas = to_canvas(torch.rand(3, 4, 5))
    canvas[1:, 2, 3] = 7
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode(canvas, "png")))), canvas)
    assert encode(canvas, "raw") == canvas.tobytes()


def test_a_file_has_what_its_picture_has() -> None:
    deep = Picture(np.arange(12, dtype=np.uint16).reshape(3, 4, 1), np.full((3, 4), 300, np.uint16))
    data = as_file(deep)
    assert data.startswith(b"\x89PNG") and np.asarray(Image.open(io.BytesIO(data))).shape[:2] == (3, 4)
    assert data[24] == 16  # bits

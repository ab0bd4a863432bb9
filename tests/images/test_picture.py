"""Pictures in memory: floats, light and what screens show."""

from __future__ import annotations

import numpy as np
import torch

from implicitkit.images.picture import Picture, to_tensor


def test_floats_are_shown_as_srgb_and_what_is_cut_off_is_counted() -> None:
    light = np.array([[[0.0], [0.5], [1.0], [4.0]]], dtype=np.float32)
    shown = Picture(light, alpha=np.ones((1, 4), np.float32), linear=True).displayed()
    assert shown.pixels.ravel().tolist() == [0, 48192, 65535, 65535]  # 0.5 light is 0.7354 of sRGB
    assert shown.alpha.ravel().tolist() == [65535] * 4 and shown.clipped == 0.25 and not shown.linear
    assert Picture(light).displayed().pixels.ravel().tolist() == [0, 32768, 65535, 65535]  # as the file has them


def test_light_of_integers_and_back() -> None:
    steps = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    light = Picture(steps).light()
    assert light[0, 0, 0] == 0 and light[-1, -1, 0] == 1 and (np.diff(light.ravel()) > 0).all()
    assert np.array_equal(Picture(light, linear=True).displayed().pixels, steps)


def test_floats_as_tensors_are_as_they_are() -> None:
    assert torch.equal(to_tensor(np.full((1, 1, 1), 3.5, np.float32)), torch.full((1, 1, 1), 3.5))

"""Windows by nearest neighbour and bicubically, against the whole picture's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from implicitkit.images.resize import resize
from implicitkit.viewer.windows import bicubic_window, nearest_window

SIZES = st.integers(1, 24)


@given(SIZES, SIZES, SIZES, SIZES)
@settings(max_examples=60, deadline=None)
def test_of_the_whole_picture_bicubic_is_matlabs(h: int, w: int, height: int, width: int) -> None:
    image = 0.2 + 0.6 * torch.rand(3, h, w, generator=torch.Generator().manual_seed(h * 31 + w))
    expected = resize(image.double(), (height, width)).clamp(0, 1)
    found = bicubic_window(image, (height, width), (-1, -1, 1, 1))
    assert found.dtype == torch.float32
    assert (found.double() - expected).abs().max() < 1e-5  # weights are float32 here


@pytest.mark.parametrize("window", [nearest_window, bicubic_window])
@pytest.mark.parametrize("side", [8, 32])
def test_a_window_is_a_part_of_the_whole(window, side: int) -> None:
    image = torch.rand(3, 16, 16)
    whole = window(image, (side, side), (-1, -1, 1, 1))
    part = window(image, (side // 4, side // 2), (-0.5, 0, 0, 1))
    assert (part - whole[:, side // 4 : side // 2, side // 2 :]).abs().max() < 1e-5


def test_deep_in_the_picture_nearest_is_one_pixel_and_bicubic_smooth() -> None:
    image = torch.rand(3, 9, 9)
    box = (-1e-3, -1e-3, 1e-3, 1e-3)
    assert torch.equal(nearest_window(image, (5, 5), box), image[:, 4:5, 4:5].expand(3, 5, 5))
    assert (bicubic_window(image, (5, 5), box) - image[:, 4:5, 4:5]).abs().max() < 0.02

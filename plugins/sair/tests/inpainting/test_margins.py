"""Margins are holes around a picture that stays as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import implicitkit as ik
from implicitkit.images import Picture
from implicitkit_sair.inpainting.margins import extend


def test_the_picture_stays_and_what_is_around_it_is_missing_and_opaque() -> None:
    draw = np.random.default_rng(0)
    given = Picture(draw.integers(0, 255, (4, 6, 3)).astype(np.uint8), draw.integers(0, 255, (4, 6)).astype(np.uint8))
    hole = torch.zeros(1, 4, 6)
    hole[0, 1, 2] = 1
    large, mask = extend(given, hole, (1, 2, 3, 4))
    assert large.size == (10, 10) and mask.shape == (1, 10, 10)
    assert np.array_equal(large.pixels[2:6, 1:7], given.pixels) and torch.equal(mask[:, 2:6, 1:7], hole)
    assert large.alpha is not None and large.alpha[0, 0] == 255 and np.array_equal(large.alpha[2:6, 1:7], given.alpha)
    assert int(mask.sum()) == 100 - 24 + 1
    assert extend(given, hole, (0, 0, 0, 0)) == (given, hole)


@pytest.mark.parametrize("margins", [(1, 2, 3), (1, 2, 3, -4), (0.5, 0, 0, 0)])
def test_margins_that_make_no_sense_are_refused(margins: tuple) -> None:
    with pytest.raises(ik.UserError, match="margins are four numbers of pixels from 0"):
        extend(Picture(np.zeros((4, 6, 1), np.uint8)), torch.zeros(1, 4, 6), margins)

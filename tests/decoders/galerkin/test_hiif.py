"""HIIF against the authors' outputs, and its digits."""

import pytest
import torch

from implicitkit.decoders.galerkin.hiif import HIIF, digit, place_in_cell
from oracles.parts import BAR, errors


def test_equals_the_authors() -> None:
    assert max(errors("hiif")) < BAR


def test_digits_spell_the_place() -> None:
    coords = torch.rand(1, 50, 2) * 1.6 - 0.8
    place = place_in_cell(coords, (9, 12))
    assert float(place.min()) > 0 and float(place.max()) < 1
    spelt = sum(digit(place, j) / 2 ** (j + 1) for j in range(6))
    assert torch.all((place - spelt) >= 0) and torch.all((place - spelt) < 1 / 64)


def test_heads_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width=9, heads=2"):
        HIIF(width=9, heads=2)

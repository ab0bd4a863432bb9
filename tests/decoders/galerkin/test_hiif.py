"""HIIF against the authors' outputs, and its digits."""

import pytest
import torch

from implicitkit.coordinates import grid
from implicitkit.decoders.galerkin.hiif import HIIF, as_rounded, digit, place_in_cell
from oracles.parts import BAR, errors


def test_equals_the_authors() -> None:
    assert max(errors("hiif")) < BAR


def test_equals_the_authors_where_every_digit_is_on_an_edge() -> None:
    """16 x 16 at powers of two, in exact arithmetic; ``grid_touchy`` above, x2, is decided by rounding."""
    assert max(errors("hiif", "exact_")) < BAR


@pytest.mark.parametrize("size", [(34, 26), (51, 39), (96, 64)])
def test_centres_of_a_grid_are_rounded_as_the_authors_round_them(size: tuple[int, int]) -> None:
    cell = torch.tensor([[[2 / n for n in size]]])
    ours = as_rounded(grid(size)[None], cell)
    theirs = torch.stack(
        torch.meshgrid(*((-1 + 1 / n) + (2 / n) * torch.arange(n).float() for n in size), indexing="ij"), dim=-1
    )
    assert torch.equal(ours, theirs.reshape(1, -1, 2))
    elsewhere = torch.rand(1, 50, 2)
    assert torch.equal(as_rounded(elsewhere, cell), elsewhere) and as_rounded(elsewhere, None) is elsewhere
    points = grid(size)[None].requires_grad_()
    assert torch.equal(torch.autograd.grad(as_rounded(points, cell).sum(), points)[0], torch.ones_like(points))


def test_digits_spell_the_place() -> None:
    coords = torch.rand(1, 50, 2) * 1.6 - 0.8
    place = place_in_cell(coords, (9, 12))
    assert float(place.min()) > 0 and float(place.max()) < 1
    spelt = sum(digit(place, j) / 2 ** (j + 1) for j in range(6))
    assert torch.all((place - spelt) >= 0) and torch.all((place - spelt) < 1 / 64)


def test_heads_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width=9, heads=2"):
        HIIF(width=9, heads=2)

"""Select, grow, fill: a red square on blue disappears; nothing else changes."""

from __future__ import annotations

import pytest
import torch
from editing.test_selection import two_reds
from semantics import semantic_model

import implicitkit as ik
from implicitkit_sair import edit
from implicitkit_sair.editing.editing import hole_of
from implicitkit_sair.editing.selection import Selection


def test_what_means_the_same_is_filled_with_what_is_around() -> None:
    picture = two_reds()
    found = edit("harmonic", picture, semantics=semantic_model(), like=[(10, 10)], connected=True, feather=0)
    assert found.picture[2, 4:20, 4:20].min() > 0.95 and found.picture[0, 4:20, 4:20].max() < 0.05
    assert torch.equal(found.picture[:, 26:, 36:], picture[:, 26:, 36:])  # the other square stays
    assert found.selection.mask.shape == (1, 48, 64)


def test_a_selection_that_grows_to_everything_is_refused() -> None:
    mask = torch.ones(1, 8, 8)
    mask[:, :2] = 0
    assert hole_of(Selection(mask, mask[0], 0.5), 1).sum() == 7 * 8
    with pytest.raises(ik.DataError, match="grown by 2 pixels, is everything; take a higher threshold"):
        hole_of(Selection(mask, mask[0], 0.5), 2)


def test_a_solver_reads_no_meaning() -> None:
    with pytest.raises(ik.UserError, match="harmonic learnt nothing and reads no meaning"):
        edit("harmonic", two_reds(), semantics=semantic_model(), like=[(10, 10)], meaning=torch.ones(3))

"""A map as rows: one per cell, in row-major order."""

from __future__ import annotations

import torch

from implicitkit.decoders.rows import Rows


def test_a_row_is_what_the_map_holds_at_its_cell() -> None:
    map = torch.rand(2, 5, 3, 4)
    rows = Rows.of(map, (1, 0), (9, 4))
    assert rows.rows.is_contiguous() and (rows.cells, rows.origin, rows.grid) == ((3, 4), (1, 0), (9, 4))
    for y in range(3):
        for x in range(4):
            assert torch.equal(rows.rows[:, y * 4 + x], map[:, :, y, x])


def test_an_index_serves_one_picture_or_all() -> None:
    rows = Rows.of(torch.rand(2, 5, 3, 4), (0, 0), (3, 4))
    shared, own = torch.tensor([[7, 0, 7]]), torch.tensor([[7, 0, 7], [1, 2, 11]])
    assert torch.equal(rows.take(shared), torch.cat([rows.rows[b][shared[0]] for b in range(2)]))
    assert torch.equal(rows.take(own), torch.cat([rows.rows[b][own[b]] for b in range(2)]))


def test_rows_taken_together_are_those_taken_alone() -> None:
    rows = Rows.of(torch.rand(2, 5, 3, 4), (0, 0), (3, 4))
    indices = [torch.randint(12, (2, 6)) for _ in range(3)]
    for together, index in zip(rows.take_each(indices), indices, strict=True):
        assert torch.equal(together.flatten(0, -2), rows.take(index))

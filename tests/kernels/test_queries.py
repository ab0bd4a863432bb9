"""The cells around queries, as the kernels read them, against those that the plain path combines."""

from __future__ import annotations

import pytest
import torch

from implicitkit.coordinates import axes, mesh, open_mesh
from implicitkit.decoders.neighbours import axis_neighbours, combine
from implicitkit.decoders.rows import Rows
from implicitkit.kernels.queries import QueryNeighbours


@pytest.mark.parametrize("ensemble", [True, False])
def test_a_grid_has_its_axes_and_they_combine_to_its_points(ensemble: bool) -> None:
    source = Rows.of(torch.rand(2, 3, 5, 6), (0, 0), (5, 6))
    per_axis = axes((7, 4), (-1, -1, 1, 1))
    near = QueryNeighbours.of(open_mesh(per_axis), source, ensemble=ensemble)
    sides = 2 if ensemble else 1
    assert (near.grid, near.points, near.width, near.sides) == (True, 28, 4, sides)
    assert near.cell_y.shape == (sides, 7) and near.cell_x.shape == (sides, 4)
    points = mesh(per_axis)[None].unbind(-1)
    each = [axis_neighbours(x, n, ensemble=ensemble) for x, n in zip(points, source.grid, strict=True)]
    literal = combine(each, source.cells, source.origin)
    rows = near.cell_y[:, None, :, None] * 6 + near.cell_x[None, :, None, :]
    assert torch.equal(rows.reshape(sides**2, 28), literal.row[:, 0])
    offsets = torch.broadcast_tensors(near.off_y[:, None, :, None], near.off_x[None, :, None, :])
    assert torch.equal(torch.stack(offsets, dim=-1).reshape(sides**2, 28, 2), literal.offset[:, 0])


def test_points_of_one_batch_serve_every_picture() -> None:
    source = Rows.of(torch.rand(3, 2, 5, 6), (0, 0), (5, 6))
    y, x = torch.rand(2, 1, 9) * 2 - 1
    near = QueryNeighbours.of([y, x], source, ensemble=True)
    assert (near.grid, near.points, near.width) == (False, 9, 9) and near.cell_y.shape == (2, 27)
    assert torch.equal(near.cell_y.view(2, 3, 9)[:, 0], near.cell_y.view(2, 3, 9)[:, 2])


def test_a_tile_counts_cells_from_its_own_first_and_stays_inside() -> None:
    tile = Rows.of(torch.rand(1, 2, 3, 6), (4, 0), (10, 6))  # rows 4 to 6 of 10
    y, x = torch.tensor([[-0.15, 0.95]]), torch.zeros(1, 2)  # between rows 3 and 4; in row 9, outside
    near = QueryNeighbours.of([y, x], tile, ensemble=False)
    whole = axis_neighbours(y, 10, ensemble=False).cell[0, 0]
    assert near.cell_y.tolist() == [[min(max(int(cell) - 4, 0), 2) for cell in whole]]
    assert int(whole[0]) == 4 and near.cell_y.tolist() == [[0, 2]]

import pytest
import torch
import torch.nn.functional as F

from implicitkit.coordinates import axes, grid, mesh, open_mesh, pixel_centres
from implicitkit.decoders.neighbours import QueryNeighbours, axis_linear, axis_neighbours, combine
from implicitkit.decoders.rows import Rows


@pytest.mark.parametrize("size", [(7,), (5, 9), (3, 4, 6)])
def test_weights_sum_to_one_and_interpolate_linearly_inside(size: tuple[int, ...]) -> None:
    ndim = len(size)
    points = (torch.rand(200, ndim) * 2 - 1) * 0.6
    near = combine([axis_neighbours(points[:, k], n) for k, n in enumerate(size)], size, (0,) * ndim)
    assert near.row.shape == (2**ndim, 200)
    assert near.offset.shape == (2**ndim, 200, ndim)
    torch.testing.assert_close(near.weight.sum(0), torch.ones(200))
    # the opposite-area weights are those of multilinear interpolation: a linear function is reproduced
    centres = grid(size)
    blended = (centres[near.row] * near.weight[..., None]).sum(0)
    torch.testing.assert_close(blended, points, atol=2e-6, rtol=0)


@pytest.mark.parametrize("scale", [1, 3, 5, 7])
def test_at_the_centres_of_border_cells_the_other_axis_keeps_its_weights(scale: int) -> None:
    n, x = 4, torch.tensor([-0.4, 0.1, 0.3])
    for y in (pixel_centres(n)[[0, -1]], pixel_centres(scale * n)[[scale // 2, -1 - scale // 2]]):
        near = combine([axis_neighbours(y[:, None], n), axis_neighbours(x[None], 5)], (n, 5), (0, 0))
        assert torch.equal(near.weight.sum(0), torch.ones(2, 3))
        column, share = near.row % 5, near.weight
        inside = axis_neighbours(x, 5)
        for side in (0, 1):
            of_cell = torch.where(column == inside.cell[side], share, 0).sum(0)
            torch.testing.assert_close(of_cell, (inside.offset[1 - side].abs() / 2).expand(2, 3), atol=2e-6, rtol=0)


def test_gradients_of_the_weights_are_finite_everywhere() -> None:
    x = pixel_centres(12).requires_grad_()  # each third is the centre of one of 4 cells
    axis_neighbours(x, 4).weight[0].sum().backward()
    assert x.grad is not None and x.grad.isfinite().all() and x.grad.abs().max() > 1


def test_at_the_border_both_sides_find_the_same_cell() -> None:
    near = axis_neighbours(torch.tensor([-0.99, 0.99]), 5)
    assert near.cell.tolist() == [[0, 4], [0, 4]]


def test_offsets_are_in_cells_of_the_map() -> None:
    near = axis_neighbours(torch.tensor([0.1]), 4)
    assert near.cell[:, 0].tolist() == [1, 2]
    torch.testing.assert_close(near.offset[:, 0], torch.tensor([(0.1 + 0.25) * 4, (0.1 - 0.25) * 4]))


def test_without_the_ensemble_only_the_nearest_counts() -> None:
    near = combine([axis_neighbours(torch.rand(9) * 2 - 1, 6, ensemble=False)], (6,), (0,))
    assert near.row.shape == (1, 9)
    assert torch.equal(near.weight, torch.ones(1, 9))
    assert near.offset.abs().max() <= 1


def test_a_grid_by_its_axes_equals_its_points() -> None:
    size, out = (6, 5), (7, 11)
    y, x = pixel_centres(out[0]), pixel_centres(out[1])
    by_axes = combine([axis_neighbours(y[:, None], 6), axis_neighbours(x[None], 5)], size, (0, 0))
    points = grid(out)
    by_points = combine([axis_neighbours(points[:, 0], 6), axis_neighbours(points[:, 1], 5)], size, (0, 0))
    assert torch.equal(by_axes.row.flatten(1), by_points.row)
    assert torch.equal(by_axes.weight.flatten(1), by_points.weight)


@pytest.mark.parametrize("n", [1, 2, 9])
def test_linear_reading_is_that_of_grid_sample(n: int) -> None:
    x = torch.linspace(-1.2, 1.2, 301)
    row = torch.rand(n)
    near = axis_linear(x, n, n)
    ours = (row[near.cell] * near.weight).sum(0)
    at = torch.stack([x, torch.zeros_like(x)], dim=-1)[None, None]
    theirs = F.grid_sample(row.reshape(1, 1, 1, n), at, mode="bilinear", padding_mode="border", align_corners=False)
    torch.testing.assert_close(ours, theirs.flatten(), atol=1e-5, rtol=0)


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

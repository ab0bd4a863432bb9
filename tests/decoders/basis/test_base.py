"""The grid of a basis decoder, by shared tables and by tables per cell, against its points."""

import pytest
import torch

import implicitkit as ik
from implicitkit.coordinates import axes, cell_size, mesh
from implicitkit.decoders.basis.base import _runs
from implicitkit.decoders.neighbours import axis_neighbours

PARTS = {"gb_lsr": {"order": 4}, "ope": {"max_frequency": 2}, "thera": {"components": 5, "max_frequency": 4}}


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("size", [(18, 21), (27, 14), (20, 31), (5, 4), (6, 7), (1, 1)])
def test_grids_equal_points(name: str, size: tuple[int, int]) -> None:
    model = ik.create_model(
        {"encoder": {"name": "edsr", "blocks": 0, "channels": 8}, "decoder": {"name": name, **PARTS[name]}}
    )
    field = model.eval().encode(torch.rand(2, 3, 6, 7))
    rendered = field.render(size, clamp=False)
    points = field(mesh(axes(size)), cell_size(size)).transpose(1, 2).reshape(rendered.shape)
    torch.testing.assert_close(rendered, points, atol=1e-5, rtol=0)
    torch.testing.assert_close(field.render(size, clamp=False, block=11), rendered, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        field.render(size, [-0.3, -0.5, 0.9, 0.7], clamp=False, block=13),
        field.render(size, [-0.3, -0.5, 0.9, 0.7], clamp=False),
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.parametrize(("count", "shared"), [(24, True), (48, True), (25, False)])
def test_cells_share_a_table_at_integer_magnification(count: int, shared: bool) -> None:
    near = axis_neighbours(axes((count,))[0], 8, ensemble=False)
    assert _runs(near, 0, 0, 8, 8, shareable=True).shared is shared

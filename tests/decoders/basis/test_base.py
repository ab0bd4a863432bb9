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


ALONE = {
    "gb_lsr": {"order": 4, "local_ensemble": False},
    "ope": {"max_frequency": 2, "local_ensemble": False},
    "thera": {"components": 5, "max_frequency": 4, "skip": "none"},
}


@torch.no_grad()
@pytest.mark.parametrize("name", ALONE)
def test_an_average_is_the_mean_over_the_pixel(name: str) -> None:
    """At an integer magnification no pixel lies on two cells: the mean of many values in it is the same."""
    encoder = {"name": "edsr", "blocks": 0, "channels": 8}
    model = ik.create_model({"encoder": encoder, "decoder": {"name": name, **ALONE[name], "average": True}}).eval()
    plain = ik.create_model({"encoder": encoder, "decoder": {"name": name, **ALONE[name]}}).eval()
    plain.load_state_dict(model.state_dict())
    picture, size, fine = torch.rand(3, 4, 5), (8, 15), 24
    cell = cell_size(size)
    averaged = model.encode(picture).render(size, cell=cell, clamp=False)
    points = mesh(axes([fine * n for n in size]))
    each = plain.encode(picture)(points, cell).t().unflatten(1, (8, fine, 15, fine))
    # the middle rule of 24 points a side errs by less than (w h)^2 / (24 * 24^2), with w h up to 4 pi / 3
    torch.testing.assert_close(averaged, each.mean((2, 4)), atol=3e-3, rtol=0)
    assert (averaged - plain.encode(picture).render(size, cell=cell, clamp=False)).abs().max() > 0.02
    at_points = model.encode(picture)(mesh(axes(size)), cell).t().reshape(averaged.shape)
    torch.testing.assert_close(at_points, averaged, atol=1e-5, rtol=0)
    enlarged = model.decoder.at_scale(3)(model.encoder(picture[None]).map)
    rendered = model.encode(picture).render((12, 15), clamp=False)
    torch.testing.assert_close(enlarged[0] * 0.5 + 0.5, rendered, atol=1e-5, rtol=0)


def test_an_average_needs_one_cell() -> None:
    for name in ("ope", "gb_lsr"):
        with pytest.raises(ValueError, match=f"{name} averages the function of one cell"):
            ik.create_decoder(name, average=True)


@pytest.mark.parametrize("name", PARTS)
def test_the_gradient_by_coordinates_is_exact(name: str) -> None:
    """In float64 differences of the table times the coefficients: autograd gives the derivative of each function."""
    decoder = ik.create_decoder({"name": name, **PARTS[name]}, in_channels=8)
    offset = (torch.rand(50, 2) * 1.6 - 0.8).requires_grad_()
    table = decoder.table(offset.unbind(-1), None)
    weight = torch.rand(table.shape[-1])
    (slope,) = torch.autograd.grad((table @ weight).sum(), offset)
    step = 1e-2
    for k in range(2):
        shift = torch.eye(2)[k] * step
        ahead, behind = (decoder.table((offset + sign * shift).unbind(-1), None) @ weight for sign in (1, -1))
        numeric = (ahead - behind) / (2 * step)
        torch.testing.assert_close(slope[:, k], numeric, atol=0.02 * float(slope.abs().max()), rtol=0)

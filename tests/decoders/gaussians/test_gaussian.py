"""The decoder of Gaussians against their sum over all cells, and its bounds."""

import pytest
import torch

import implicitkit as ik
from implicitkit import testing
from implicitkit.decoders.base import Inputs
from implicitkit.decoders.gaussians.drawing import Gaussians
from implicitkit.decoders.gaussians.gaussian import Gaussian, spread
from implicitkit.encoders.base import Features
from oracles.models import assert_all_ways_agree


def model_of(**decoder: object) -> ik.ImplicitModel:
    encoder = {"name": "edsr", "blocks": 1, "channels": 8}
    return ik.create_model({"encoder": encoder, "decoder": {"name": "gaussian", "hidden": [8], **decoder}}).eval()


@torch.no_grad()
@pytest.mark.parametrize("bounds", [(0.5, 0.6), (1.0, 0.3), (0.1, 0.1)])
def test_equals_the_same_gaussians_drawn_on_a_canvas(bounds: tuple[float, float]) -> None:
    """All of them, with the cut as a reach: the window misses none."""
    decoder = Gaussian(4, 3, 3, hidden=[], offset_max=bounds[0], sigma_max=bounds[1], skip=False)
    h, w, s = 5, 7, 4
    for parameter in decoder.parameters():
        parameter.mul_(4)
    map = torch.randn(1, 4, h, w)
    each = decoder.project(map)[0].unflatten(0, (3, -1)).permute(2, 3, 0, 1).double()  # (h, w, count, numbers)
    cells = torch.stack(torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"), dim=-1)[:, :, None] + 0.5
    centre = ((cells + each[..., :2] / 2) * s - 0.5).reshape(1, -1, 2)
    numbers = each.reshape(1, -1, each.shape[-1])
    canvas = Gaussians(centre, numbers[..., 2:4] * s / 2, numbers[..., 4], numbers[..., 5:])
    expected = canvas.draw((h * s, w * s), (3 * bounds[1] * s, 3 * bounds[1] * s))
    latent = decoder.prepare(Features(map, (h, w)), Inputs(torch.zeros(1, 3, h, w)), {})
    axes = [(2 * torch.arange(n * s) + 1) / (n * s) - 1 for n in (h, w)]
    torch.testing.assert_close(decoder.query_grid(latent, axes, None, {}).double(), expected, atol=1e-4, rtol=0)


def test_render_points_tiles_and_batches_agree() -> None:
    assert_all_ways_agree(model_of(count=2, sigma_max=0.3), 5e-6)


def test_contract() -> None:
    testing.check_decoder({"name": "gaussian", "count": 2, "hidden": [8], "sigma_max": 0.3})


def test_centres_begin_spread_over_the_cell() -> None:
    for count in (1, 2, 4, 7):
        places = spread(count)
        assert places.shape == (count, 2) and float(places.abs().max()) < 1
        assert len({tuple(place) for place in places.tolist()}) == count


def test_the_window_follows_from_the_bounds() -> None:
    assert [Gaussian(4, offset_max=o, sigma_max=s).reach for o, s in ((0.5, 0.6), (0.5, 0.3), (2, 1), (0.1, 0.1))] == [
        2,
        1,
        5,
        0,
    ]


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="gaussian takes positive channels.*received.*count=0"):
        ik.create_decoder("gaussian", count=0)
    with pytest.raises(ValueError, match=r"sigma_max is above 0.05; received 0.01"):
        ik.create_decoder("gaussian", sigma_max=0.01)

"""LINF against the authors' outputs, and its samples."""

import pytest
import torch

import implicitkit as ik
from implicitkit.decoders.joint.linf import LINF, Flow, pixel_of, scattered
from oracles.models import assert_all_ways_agree
from oracles.parts import BAR, errors

SMALL = {"name": "linf", "width": 8, "depth": 1, "flow_layers": 2}


def test_equals_the_authors() -> None:
    assert max(errors("linf")) < BAR


def test_a_sample_depends_on_the_seed_alone() -> None:
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 0, "channels": 8}, "decoder": SMALL}).eval()
    picture, warm = torch.rand(3, 14, 15), {"temperature": 1, "seed": 3}
    field = model.encode(picture)
    sample = field.render((20, 25), clamp=False, options=warm)
    exact = {"atol": 1e-5, "rtol": 0.0}
    torch.testing.assert_close(field.render((20, 25), clamp=False, block=19, options=warm), sample, **exact)
    torch.testing.assert_close(
        model.encode(picture, tile=8).render((20, 25), clamp=False, options=warm), sample, **exact
    )
    for options in ({"temperature": 1}, {}, {"seed": 3}):
        assert (field.render((20, 25), clamp=False, options=options) - sample).abs().max() > 0.01
    assert torch.equal(field.render((20, 25), options={"seed": 3}), field.render((20, 25)))


def test_unknown_and_wrong_options_are_refused() -> None:
    field = ik.create_model({"encoder": {"name": "edsr", "blocks": 0, "channels": 8}, "decoder": SMALL}).encode(
        torch.rand(3, 4, 4)
    )
    with pytest.raises(ValueError, match="linf has no option 'heat'; it knows temperature, seed"):
        field.render((4, 4), options={"heat": 1})
    with pytest.raises(ValueError, match="temperature of linf is at least 0; received -1"):
        field(torch.zeros(1, 2), 0.1, options={"temperature": -1})
    with pytest.raises(ValueError, match="an even width"):
        LINF(width=7)


def test_noise_is_normal() -> None:
    noise = scattered(torch.rand(20000, 2), 0, 3)
    assert noise.mean().abs() < 0.02 and abs(float(noise.std()) - 1) < 0.02
    assert float(torch.corrcoef(noise.t()).fill_diagonal_(0).abs().max()) < 0.03


def test_the_inverse_undoes_the_flow() -> None:
    flow, x, parameters = Flow(3, 2), torch.randn(5, 3), torch.randn(5, 2, 2, 3)
    y = x
    for k in range(2):
        y = y @ flow.weight[k].t() + flow.bias[k]
        y = y * (torch.sigmoid(parameters[:, k, 0] + 2) + 1e-4) + parameters[:, k, 1]
    torch.testing.assert_close(flow.inverse(y @ flow.weight[2].t() + flow.bias[2], parameters), x, atol=1e-5, rtol=0)


def patched(**decoder: object) -> ik.ImplicitModel:
    small = {**SMALL, "name": "linf_patch", **decoder}
    return ik.create_model({"encoder": {"name": "edsr", "blocks": 0, "channels": 8}, "decoder": small}).eval()


def test_patches_equal_the_authors() -> None:
    """One grid of 40 x 38 pixels, whose last row the authors make from the middle; one whose height is in threes."""
    assert max(errors("linf_patch")) < BAR


def test_all_ways_to_ask_for_patches_agree() -> None:
    assert_all_ways_agree(patched(), 1e-5)


def test_a_patch_is_made_once_and_a_pixel_has_one_value() -> None:
    field, warm = patched().encode(torch.rand(3, 8, 9)), {"temperature": 1.0, "seed": 4}
    picture = field.render((20, 25), clamp=False, options=warm)
    box = field.render((8, 5), (-0.6, 0.2, 0.2, 0.6), clamp=False, options=warm)
    torch.testing.assert_close(box, picture[:, 4:12, 15:20], atol=1e-5, rtol=0)
    cell = torch.tensor([2 / 20, 2 / 25])
    points = torch.rand(40, 2) * 2 - 1
    centres = (pixel_of(points, cell) + 0.5) * cell - 1
    skips = [model_skip(field, at) for at in (points, centres)]
    ours, theirs = (field(at, cell, options=warm) for at in (points, centres))
    torch.testing.assert_close(ours - skips[0], theirs - skips[1], atol=1e-5, rtol=0)


def model_skip(field: ik.Field, points: torch.Tensor) -> torch.Tensor:
    """The picture interpolated linearly."""
    at = points.flip(-1)[None, None]
    return torch.nn.functional.grid_sample(field.image[None], at, padding_mode="border", align_corners=False)[
        0, :, 0
    ].t()


def test_patches_that_a_tile_cannot_hold_are_refused() -> None:
    picture = torch.rand(3, 24, 24)
    with pytest.raises(ValueError, match="patches of linf_patch that reach beyond a tile; encode without tile="):
        patched().encode(picture, tile=8).render((9, 9))
    with pytest.raises(ValueError, match="LINFPatch sees the whole picture at once"):
        patched(authors_ends=True).encode(picture, tile=8)

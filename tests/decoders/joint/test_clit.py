"""CLIT against the authors' outputs, and its stages."""

from typing import Any

import pytest
import torch

import implicitkit as ik
from implicitkit.decoders.joint.clit import CLIT
from oracles.models import assert_all_ways_agree
from oracles.parts import BAR, errors


def model_of(**decoder: Any) -> ik.ImplicitModel:
    small = {"name": "clit", "width": 8, "heads": 2, "radius": 1, "hidden": [8], **decoder}
    return ik.create_model({"encoder": {"name": "edsr", "blocks": 0, "channels": 8}, "decoder": small}).eval()


def test_equals_the_authors() -> None:
    assert max(errors("clit")) < BAR


@pytest.mark.parametrize("stages", [1, 3])
def test_points_grids_tiles_blocks_and_batches_agree(stages: int) -> None:
    assert_all_ways_agree(model_of(stages=stages, scale_base=1.2), 1e-5)


def test_tiles_agree_where_the_stages_grids_are_given() -> None:
    model, picture = model_of(stages=3), torch.rand(3, 13, 17)
    options = {"between": [[15, 22], [26, 51]]}
    whole = model.encode(picture).render((31, 29), clamp=False, options=options)
    tiled = model.encode(picture, tile=6).render((31, 29), clamp=False, options=options)
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)
    assert not torch.allclose(model.encode(picture).render((31, 29), clamp=False), whole, atol=1e-3)


def test_a_point_passes_the_stages_that_its_magnification_asks_for() -> None:
    model, picture = model_of(stages=2, scale_base=2.0), torch.rand(3, 9, 10)
    two, one = model.encode(picture), model.encode(picture)
    points = torch.rand(20, 2) * 2 - 1
    fine, coarse = torch.tensor([2 / 27, 2 / 30]), torch.tensor([2 / 18, 2 / 20])  # x3 and x2
    each = torch.cat([fine.expand(10, 2), coarse.expand(10, 2)])
    mixed = two(points, each)
    torch.testing.assert_close(mixed[:10], two(points[:10], fine), atol=1e-6, rtol=0)
    torch.testing.assert_close(mixed[10:], one(points[10:], coarse), atol=1e-6, rtol=0)
    explicit = one(points[10:], coarse, options={"between": []})
    torch.testing.assert_close(explicit, mixed[10:], atol=1e-6, rtol=0)
    torch.testing.assert_close(two(points[:10], fine, options={"between": [[18, 20]]}), mixed[:10], atol=1e-6, rtol=0)


def test_wrong_grids_and_arguments_are_named() -> None:
    field = model_of(stages=2).encode(torch.rand(3, 6, 7))
    for wrong in ([[9, 9], [12, 12]], "9x9", [9], [[9.5, 9]]):
        with pytest.raises(ValueError, match=r"the option between of clit is a list of at most 1 sizes \[H, W\]"):
            field.render((12, 12), options={"between": wrong})
    with pytest.raises(ValueError, match=r"at least the \(6, 7\) cells of the features"):
        field.render((12, 12), options={"between": [[5, 9]]})
    with pytest.raises(ValueError, match="clit has no option 'stages'; it knows between"):
        field.render((12, 12), options={"stages": 1})
    with pytest.raises(ValueError, match="width=9, heads=2"):
        CLIT(width=9, heads=2)

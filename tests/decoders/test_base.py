"""The decoder contract: what a decoder gets for nothing, and what it must write."""

from __future__ import annotations

import pytest
import torch

import implicitkit as ik
from implicitkit.coordinates import axes, mesh
from implicitkit.decoders.base import Inputs, check_scale_max, in_float32
from implicitkit.encoders.base import Features


class Waves(ik.Decoder):
    """Values that tell the point, the cell and the condition apart."""

    in_channels, out_channels, conditions = 2, 2, ("other",)

    def query(self, latent, coords, cell, conditions):
        values = torch.stack([coords[..., 0] * 10 + coords[..., 1], cell.prod(-1).expand(coords.shape[:2])], dim=-1)
        return latent + values + conditions["other"]


def test_a_grid_is_its_points() -> None:
    decoder, per_axis = Waves(), axes((3, 4), (-1, -1, 1, 1))
    latent, cell, other = torch.rand(2, 1, 2), torch.full((1, 1, 2), 0.5), torch.rand(2, 2, 3, 4)
    grid = decoder.query_grid(latent, per_axis, cell, {"other": other})
    points = decoder.query(latent, mesh(per_axis)[None], cell, {"other": other.flatten(2).transpose(1, 2)})
    assert grid.shape == (2, 2, 3, 4) and torch.equal(grid.flatten(2).transpose(1, 2), points)


def test_what_is_not_written_is_named() -> None:
    decoder = ik.Decoder()
    with pytest.raises(NotImplementedError, match=r"Decoder does not implement prepare\(\)"):
        decoder.prepare(Features(torch.rand(1, 2, 3, 4), (3, 4)), Inputs(torch.rand(1, 3, 3, 4)), {})
    with pytest.raises(NotImplementedError, match=r"Decoder does not implement query\(\)"):
        decoder.query(None, torch.rand(1, 5, 2), None, {})
    assert decoder.queried == () and Waves().queried == ("other",)


def test_inputs_are_whole_unless_they_say_where_they_lie() -> None:
    whole = Inputs(torch.rand(1, 3, 5, 6))
    assert (whole.origin, whole.size) == ((0, 0), (5, 6))
    tile = Inputs(torch.rand(1, 3, 5, 6), None, (8, 0), (20, 6))
    assert (tile.origin, tile.size) == ((8, 0), (20, 6))


def test_a_cell_is_never_finer_than_trained() -> None:
    cell = torch.tensor([[[0.01, 0.4]]])
    decoder = ik.Decoder()
    assert decoder.default_cell(cell, (10, 20)) is cell
    decoder.scale_max = check_scale_max(4)
    torch.testing.assert_close(decoder.default_cell(cell, (10, 20)), torch.tensor([[[2 / 40, 0.4]]]))
    with pytest.raises(ValueError, match="a positive magnification, or None; received 0"):
        check_scale_max(0)


def test_geometry_is_out_of_autocasts_reach() -> None:
    a = torch.rand(3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (a @ a).dtype == torch.bfloat16
        with in_float32("cpu"):
            assert (a @ a).dtype == torch.float32

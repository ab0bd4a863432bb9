"""MetaSR against a literal version, with the neighbourhood and the predicted matrix written out."""

import pytest
import torch

import implicitkit as ik
from implicitkit.decoders.base import Inputs
from implicitkit.decoders.metasr import MetaSR
from implicitkit.encoders.base import Features
from implicitkit.testing import check_decoder
from oracles.formulas import unfold


def literal(decoder: MetaSR, features: torch.Tensor, coords: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
    """One point at a time: the input pixel under the output pixel's corner, read through the predicted matrix."""
    read, size = unfold(features), features.shape[2:]
    out = torch.zeros(*coords.shape[:2], decoder.out_channels)
    for b in range(len(coords)):
        for i in range(coords.shape[1]):
            corner, at, given = coords[b, i] - cell[b, i] / 2, [], []
            for k, n in enumerate(size):
                inside = (corner[k] + 1e-6).clamp(-1 + 1e-6, 1 - 1e-6)
                at.append(min(max(round(float(((inside + 1) * n - 1) / 2)), 0), n - 1))
                given.append((corner[k] - (-1 + 2 * at[-1] / n)) * n / 2)
            given.append(cell[b, i, 0] * size[0] / 2)
            matrix = decoder.matrix(decoder.hidden(torch.stack(given))).reshape(-1, decoder.out_channels)
            out[b, i] = read[b, :, at[0], at[1]] @ matrix
    return out


@pytest.mark.parametrize("hidden", [[], [6], [5, 8]])
def test_equals_the_literal_formula(hidden: list[int]) -> None:
    decoder = MetaSR(4, 2, hidden)
    features = torch.randn(2, 4, 5, 7)
    coords, cell = torch.rand(2, 30, 2) * 2 - 1, torch.rand(2, 30, 2) * 0.5
    with torch.no_grad():
        latent = decoder.prepare(Features(features, (5, 7)), Inputs(torch.zeros(2, 3, 5, 7)), {})
        ours = decoder.query(latent, coords, cell, {})
        torch.testing.assert_close(ours, literal(decoder, features, coords, cell), atol=1e-5, rtol=0)


def test_contract() -> None:
    check_decoder({"name": "metasr", "hidden": [16]})
    check_decoder({"name": "metasr", "hidden": [8, 8], "out_channels": 5})


def test_the_matrix_is_never_built() -> None:
    decoder = MetaSR(8, 3, [16])
    latent = decoder.prepare(Features(torch.randn(1, 8, 6, 6), (6, 6)), Inputs(torch.zeros(1, 3, 6, 6)), {})
    assert latent.rows.shape == (1, 36, 3 * 17)  # per channel, a factor of each hidden value and a constant


def test_tiles_refuse_output_pixels_that_reach_beyond_them() -> None:
    model = ik.create_model(
        {"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": {"name": "metasr", "hidden": [8]}}
    ).eval()
    picture = torch.rand(3, 64, 64)
    whole, tiled = model.encode(picture), model.encode(picture, tile=16)
    for size in ((64, 90), (40, 33)):  # down to about half the size, a corner is at most one cell away
        torch.testing.assert_close(whole.render(size), tiled.render(size), atol=1e-5, rtol=0)
    assert torch.isfinite(whole.render((8, 8))).all()
    with pytest.raises(ValueError, match="metasr reads 4 cells away .* encode without tile="):
        tiled.render((8, 8))


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"hidden=\[3, 0\]"):
        MetaSR(hidden=[3, 0])

"""LTE and LTE+ against a literal version of the equations."""

import math

import pytest
import torch
import torch.nn.functional as F

import implicitkit as ik
from implicitkit.coordinates import grid
from implicitkit.decoders.base import Inputs
from implicitkit.decoders.lte import LTE, LTEPlus
from implicitkit.encoders.base import Features
from implicitkit.images.filling import fill_holes
from implicitkit.testing import check_decoder, check_model

ENCODER = {"name": "edsr", "blocks": 1, "channels": 4, "res_scale": 1.0}


def literal(decoder: LTE, features: torch.Tensor, picture: torch.Tensor, coords: torch.Tensor, cell: torch.Tensor):
    """Lee & Jin, eq. 5-8, one point, one neighbour and one wave at a time; all in float64."""
    decoder = decoder.double()
    features, coords, cell = features.double(), coords.double(), cell.double()
    amplitude, frequency = decoder.amplitude(features), decoder.frequency(features)
    size, half = features.shape[2:], decoder.basis // 2
    out = torch.zeros(*coords.shape[:2], decoder.out_channels, dtype=torch.float64)
    corners = [(a, b) for a in (-1, 1) for b in (-1, 1)] if decoder.local_ensemble else [(0, 0)]
    for b in range(len(coords)):
        for i in range(coords.shape[1]):
            predictions, areas = [], []
            for corner in corners:
                at, offset = [], []
                for k, n in enumerate(size):
                    shifted = float(coords[b, i, k]) + (corner[k] / n + 1e-6 if decoder.local_ensemble else 0)
                    index = round(((min(max(shifted, -1 + 1e-6), 1 - 1e-6) + 1) * n - 1) / 2)
                    at.append(min(max(index, 0), n - 1))
                    offset.append((float(coords[b, i, k]) - (-1 + (2 * at[-1] + 1) / n)) * n)
                phase = decoder.phase(cell[b, i] * torch.tensor(size, dtype=torch.float64))
                waves = []
                for trigonometric in (math.cos, math.sin):
                    for j in range(half):
                        y, x = (j, half + j) if isinstance(decoder, LTEPlus) else (2 * j, 2 * j + 1)
                        turns = sum(
                            float(frequency[b, channel, at[0], at[1]]) * o
                            for channel, o in zip((y, x), offset, strict=True)
                        )
                        waves.append(trigonometric(math.pi * (turns + float(phase[j]))))
                predictions.append(decoder.mlp(amplitude[b, :, at[0], at[1]] * torch.tensor(waves).double()))
                areas.append(abs(offset[0] * offset[1]) + 1e-9)
            shares = areas[::-1] if decoder.local_ensemble else areas
            out[b, i] = sum(p * s / sum(areas) for p, s in zip(predictions, shares, strict=True))
    if decoder.skip == "bilinear":
        at = coords.flip(-1)[:, None]
        sampled = F.grid_sample(picture.double(), at, padding_mode="border", align_corners=False)
        out += sampled[:, :, 0].transpose(1, 2)
    return out


@pytest.mark.parametrize("kind", [LTE, LTEPlus])
@pytest.mark.parametrize(("ensemble", "skip"), [(True, "bilinear"), (True, "none"), (False, "bilinear")])
def test_equals_the_literal_formula(kind: type[LTE], ensemble: bool, skip: str) -> None:
    decoder = kind(4, 3, [7, 5], basis=6, local_ensemble=ensemble, skip=skip)
    features, picture = torch.randn(2, 4, 5, 7), torch.rand(2, 3, 5, 7) * 2 - 1
    coords, cell = torch.rand(2, 12, 2) * 2.2 - 1.1, torch.rand(2, 12, 2) * 0.3
    with torch.no_grad():
        latent = decoder.prepare(Features(features, (5, 7)), Inputs(picture), {})
        ours = decoder.query(latent, coords, cell, {})
        theirs = literal(decoder, features, picture, coords, cell)
    torch.testing.assert_close(ours.double(), theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["lte", "lte_plus"])
@pytest.mark.usefixtures("either_way")
def test_contract(name: str) -> None:
    check_decoder({"name": name, "hidden": [16, 12], "basis": 8})
    check_decoder({"name": name, "hidden": 8, "skip": "none", "out_channels": 5, "local_ensemble": False})


@pytest.mark.usefixtures("either_way")
def test_a_model_that_is_given_the_mask() -> None:
    spec = {
        "encoder": {**ENCODER, "channels": 8},
        "decoder": {"name": "lte", "hidden": 16},
        "inputs": ["image", "mask"],
    }
    model = ik.create_model(spec)
    check_model(model)
    picture, mask = torch.rand(3, 8, 9), (torch.rand(1, 8, 9) < 0.5).float()
    assert not torch.allclose(model.encode(picture, mask).render((12, 12)), model.encode(picture).render((12, 12)))
    torch.nn.init.zeros_(model.decoder.mlp[-1].weight)
    torch.nn.init.zeros_(model.decoder.mlp[-1].bias)
    filled = fill_holes(picture[None], mask[None], model.hole_fill)
    skip = F.interpolate(filled, (12, 12), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(model.encode(picture, mask).render((12, 12)), skip, atol=1e-5, rtol=0)


def test_hidden_as_a_number_and_the_default_basis() -> None:
    assert LTE(4, hidden=16).state_dict().keys() == LTE(4, hidden=[16, 16, 16]).state_dict().keys()
    assert (LTE(4, hidden=16).basis, LTE(4, hidden=[12, 3]).basis, LTE(4, hidden=[]).basis) == (16, 12, 256)
    assert LTE(4, hidden=[12], basis=6).phase.weight.shape == (3, 2)


@pytest.mark.parametrize("name", ["lte", "lte_plus"])
@pytest.mark.usefixtures("either_way")
def test_the_default_cell_is_never_finer_than_trained(name: str) -> None:
    spec = {"encoder": ENCODER, "decoder": {"name": name, "hidden": 8}}
    model = ik.create_model(spec)
    field = model.encode(torch.rand(3, 6, 10))

    def pinned(*cell: float) -> torch.Tensor:
        return field.render((48, 25), clamp=False, cell=cell)

    # 48 rows are x8, so rows count as 4 * 6; 25 columns are x2.5 and stay
    assert torch.equal(field.render((48, 25), clamp=False), pinned(0.5 / 6, 2 / 25))
    assert not torch.equal(pinned(0.5 / 6, 2 / 25), pinned(2 / 48, 2 / 25))  # a given cell is not altered
    points = grid((48, 25))
    unaltered = field(points, (2 / 48, 2 / 25)).T.reshape(3, 48, 25)
    torch.testing.assert_close(unaltered, pinned(2 / 48, 2 / 25), atol=1e-5, rtol=0)
    for scale_max, finest in ((None, 2 / 48), (2.0, 1 / 6)):
        other = ik.create_model({**spec, "decoder": {**spec["decoder"], "scale_max": scale_max}})
        other.load_state_dict(model.state_dict())
        columns = 2 / 25 if scale_max is None else 1 / 10
        found = other.encode(field._image[0]).render((48, 25), clamp=False)
        assert torch.equal(found, pinned(finest, columns))


@pytest.mark.usefixtures("either_way")
def test_the_trained_scale_is_one_of_pixels_whatever_the_encoders_stride() -> None:
    encoder = {"name": "timm:resnet10t", "out_indices": [1], "out_channels": 8}  # stride 4
    model = ik.create_model({"encoder": encoder, "decoder": {"name": "lte", "hidden": 8}}).eval()
    field = model.encode(torch.rand(3, 32, 32))
    for size, finest in ((64, 2 / 64), (256, 2 / 128)):  # x2 as it is, x8 as x4
        assert torch.equal(field.render((size, size)), field.render((size, size), cell=finest))


@pytest.mark.usefixtures("either_way")
def test_phases_stay_float32_under_autocast() -> None:
    """Frequencies in bfloat16 would be off by F/512 turns: large frequencies make that visible."""
    model = ik.create_model(
        {"encoder": {**ENCODER, "channels": 8}, "decoder": {"name": "lte", "hidden": [32], "basis": 8}}
    )
    decoder = model.decoder
    features = Features(torch.randn(1, 8, 12, 12), (12, 12))
    picture = Inputs(torch.zeros(1, 3, 12, 12))
    with torch.no_grad():
        decoder.frequency.weight.mul_(300)
        latent = decoder.prepare(features, picture, {})
        coords, cell = torch.rand(1, 500, 2) * 2 - 1, torch.full((1, 1, 2), 0.04)
        exact = decoder.query(latent, coords, cell, {})
        with torch.autocast("cpu", torch.bfloat16):
            low_latent = decoder.prepare(features, picture, {})
            low = decoder.query(low_latent, coords, cell, {})
    assert torch.equal(low_latent.features.rows, latent.features.rows)
    assert low.dtype == torch.float32
    error = (low - exact).abs().max().item()
    assert 0 < error < 0.02 * exact.abs().max().item() + 0.01, error  # the MLP's own rounding


def test_bad_arguments_are_named() -> None:
    for arguments, message in (
        ({"skip": "cubic"}, "'cubic'"),
        ({"basis": 7}, "even basis; received .*basis=7"),
        ({"hidden": [0]}, r"hidden=\[0\]"),
        ({"scale_max": 0.0}, "received 0.0"),
    ):
        with pytest.raises(ValueError, match=message):
            LTE(**arguments)
    model = ik.create_model({"encoder": {**ENCODER, "in_channels": 1}, "decoder": {"name": "lte", "hidden": 8}})
    with pytest.raises(ValueError, match=r"which has 1 channels, to 3 values per point; set out_channels=1"):
        model.encode(torch.rand(1, 6, 6))

"""LIIF against a literal version of its equation, in one, two and three dimensions."""

import itertools

import pytest
import torch

import implicitkit as ik
from implicitkit.coordinates import grid
from implicitkit.decoders.base import Inputs
from implicitkit.decoders.liif import LIIF
from implicitkit.encoders.base import Features
from oracles.formulas import liif as literal_liif

SIZES = {1: (11,), 2: (5, 7), 3: (3, 4, 5)}


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("flags", list(itertools.product([True, False], repeat=3)), ids=str)
def test_equals_the_literal_formula(ndim: int, flags: tuple[bool, bool, bool]) -> None:
    ensemble, unfold, cell_decode = flags
    decoder = LIIF(4, 2, [8, 8], local_ensemble=ensemble, feat_unfold=unfold, cell_decode=cell_decode, ndim=ndim)
    features = torch.randn(2, 4, *SIZES[ndim])
    coords, cell = torch.rand(2, 30, ndim) * 2 - 1, torch.rand(2, 30, ndim) * 0.3
    with torch.no_grad():
        latent = decoder.prepare(Features(features, SIZES[ndim]), Inputs(torch.zeros(2, 3, *SIZES[ndim])), {})
        ours = decoder.query(latent, coords, cell, {})
        torch.testing.assert_close(ours, literal_liif(decoder, features, coords, cell), atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [1, 3, 5, 7])
def test_a_render_meets_its_limit_at_the_centres_of_border_cells(scale: int) -> None:
    """There all four areas vanish; the published code's value is rounding noise, and half of the wrong neighbour."""
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 0, "channels": 4}, "decoder": "liif"})
    model.decoder.rest[-1].weight.data *= 30
    field, size = model.encode(torch.rand(3, 6, 9)), (6 * scale, 9 * scale)
    with torch.no_grad():
        values = field.render(size, clamp=False)
        points = grid(size)
        shifts = [torch.tensor([dy, dx]) * 2e-5 for dy in (-1, 1) for dx in (-1, 1)]
        away = [field(points + shift, [2 / n for n in size]) for shift in shifts]
    limit = torch.stack(away).mean(0).T.reshape(3, *size)
    assert limit.std() > 0.05
    torch.testing.assert_close(values, limit, atol=2e-3, rtol=0)


@pytest.mark.parametrize("hidden", [[], [5], [7, 3, 9]])
def test_any_hidden_list(hidden: list[int]) -> None:
    decoder = LIIF(4, 5, hidden)
    features = torch.randn(1, 4, 5, 6)
    coords, cell = torch.rand(1, 9, 2) * 2 - 1, torch.full((1, 9, 2), 0.1)
    latent = decoder.prepare(Features(features, (5, 6)), Inputs(torch.zeros(1, 3, 5, 6)), {})
    ours = decoder.query(latent, coords, cell, {})
    assert ours.shape == (1, 9, 5)
    torch.testing.assert_close(ours, literal_liif(decoder, features, coords, cell), atol=1e-5, rtol=0)


def test_the_neighbourhood_is_never_materialised() -> None:
    decoder = LIIF(8, 3, [16])
    latent = decoder.prepare(Features(torch.randn(1, 8, 6, 6), (6, 6)), Inputs(torch.zeros(1, 3, 6, 6)), {})
    assert latent.features.rows.shape == (1, 36, 16)  # the first layer's width, not 9 * 8


def test_a_signal_and_a_volume_are_fitted() -> None:
    """A 1-D signal and a 3-D volume through the whole model: after a few steps it follows them between the samples."""
    for ndim, size in ((1, (24,)), (3, (6, 6, 6))):
        encoder = ik.create_encoder("edsr", blocks=1, channels=8, ndim=ndim, in_channels=1)
        decoder = ik.create_decoder("liif", in_channels=8, hidden=[32], out_channels=1, ndim=ndim)
        model = ik.ImplicitModel(encoder, decoder)
        points = grid(size)

        def truth(at: torch.Tensor) -> torch.Tensor:
            return 0.5 + 0.4 * torch.sin(3 * at).prod(-1, keepdim=True)

        picture = truth(points).reshape(1, 1, *size)
        optimiser = torch.optim.Adam(model.parameters(), 1e-2)
        dense = grid([2 * n for n in size])
        cell = torch.full((1, 1, ndim), 1 / size[0])
        first = last = 0.0
        for step in range(60):
            loss = (model(picture, dense[None], cell).values[0] - truth(dense)).abs().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            first, last = (loss.item() if step == 0 else first), loss.item()
        assert last < 0.2 * first, (ndim, first, last)


@pytest.mark.usefixtures("either_way")  # the others ask the decoder itself, or want a graph
def test_geometry_stays_float32_under_autocast() -> None:
    torch.manual_seed(1)
    model = ik.create_model(
        {
            "encoder": {"name": "edsr", "blocks": 1, "channels": 8, "res_scale": 1},
            "decoder": {"name": "liif", "hidden": [32, 32]},
        }
    )
    picture = torch.rand(3, 16, 1024)
    exact = model.encode(picture).render((4, 4096), clamp=False)
    low = model.encode(picture, precision="bfloat16").render((4, 4096), clamp=False)
    assert low.dtype == torch.float32
    error = (exact - low).abs().max().item()
    assert 0 < error < 0.02, error  # bfloat16 networks; a wrong neighbour would be off by the picture's own contrast


def test_every_parameter_gets_a_gradient() -> None:
    model = ik.create_model(
        {"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": {"name": "liif", "hidden": [8, 8]}}
    )
    model(torch.rand(2, 3, 6, 5), torch.rand(2, 7, 2), torch.rand(2, 7, 2)).values.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="'cubic'"):
        LIIF(skip="cubic")  # type: ignore[arg-type]
    with pytest.raises(ik.ArgumentError, match="did you mean 'hidden'"):
        ik.create_decoder("liif", hiden=[3])

"""Thera against its equation, and its damping against a numerical Gaussian blur."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import implicitkit as ik
from implicitkit.coordinates import axes, mesh
from implicitkit.decoders.base import Inputs
from implicitkit.decoders.basis.thera import Thera
from implicitkit.decoders.local_ensemble import Latent
from implicitkit.encoders.base import Features
from oracles.models import assert_all_ways_agree
from oracles.parts import BAR, errors


def model_of(**decoder: object) -> ik.ImplicitModel:
    encoder = {"name": "edsr", "blocks": 1, "channels": 4}
    return ik.create_model({"encoder": encoder, "decoder": {"name": "thera", "components": 6, **decoder}}).eval()


def literal(decoder: Thera, features: Tensor, picture: Tensor, coords: Tensor, cell: Tensor) -> Tensor:
    """Equations 1 and 2, one point, channel and wave at a time; picture and feature map have the same size."""
    height, width = features.shape[2:]
    kappa, waves = float(decoder.diffusivity), decoder.components
    out = torch.zeros(*coords.shape[:2], decoder.out_channels)
    for b, i in itertools.product(range(coords.shape[0]), range(coords.shape[1])):
        y, x = (coords[b, i] + 1).tolist()
        row, column = int(y / 2 * height), int(x / 2 * width)
        dy, dx = y / 2 * height - (row + 0.5), x / 2 * width - (column + 0.5)  # in cells
        t = [float(cell[b, i, k] / (2 / n)) ** 2 for k, n in enumerate((height, width))]
        here = features[b, :, row, column]
        parameters = decoder.hyper.weight[:, :, 0, 0] @ here + decoder.hyper.bias
        for channel in range(decoder.out_channels):
            value = float(picture[b, channel, row, column])
            for k in range(waves):
                wy, wx = decoder.frequencies[k].tolist()
                wave = math.sin(wy * dy + wx * dx + float(parameters[k]))
                damping = math.exp(-kappa * (wy**2 * t[0] + wx**2 * t[1]))
                value += float(parameters[waves * (1 + channel) + k]) * wave * damping
            out[b, i, channel] = value
    return out


@torch.no_grad()
def test_equals_the_literal_formula() -> None:
    decoder = Thera(4, 2, components=5, max_frequency=4)
    features, picture = torch.randn(2, 4, 5, 7), torch.randn(2, 2, 5, 7)
    coords, cell = torch.rand(2, 20, 2) * 2 - 1, torch.rand(2, 20, 2) * 0.3
    latent = decoder.prepare(Features(features, (5, 7)), Inputs(picture), {})
    ours = decoder.query(latent, coords, cell, {})
    torch.testing.assert_close(ours, literal(decoder, features, picture, coords, cell), atol=2e-5, rtol=0)


@torch.no_grad()
def test_a_border_belongs_to_the_cell_behind_it() -> None:
    decoder = Thera(4, 3, components=5, max_frequency=4)
    features, picture = torch.randn(1, 4, 4, 6), torch.randn(1, 3, 4, 6)
    latent = decoder.prepare(Features(features, (4, 6)), Inputs(picture), {})
    lines = axes((6, 9))  # at x1.5 every third row and column lies on a border
    coords, cell = mesh(lines)[None], torch.tensor([[[2 / 6, 2 / 9]]])
    theirs = literal(decoder, features, picture, coords + 1e-6, cell.expand(1, 54, 2))
    ours = decoder.query(latent, coords, cell, {})
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=0)
    torch.testing.assert_close(decoder.query_grid(latent, lines, cell, {}).flatten(2).transpose(1, 2), ours)


def lone_field(max_frequency: float = 3.0) -> tuple[Thera, Latent]:
    """A grid of one cell, whose field is smooth and answers anywhere, even beyond [-1, 1]."""
    decoder = Thera(4, 3, components=8, max_frequency=max_frequency, skip="none")
    features = Features(torch.randn(1, 4, 1, 1), (1, 1))
    return decoder, decoder.prepare(features, Inputs(torch.zeros(1, 3, 1, 1)), {})


@torch.no_grad()
@pytest.mark.parametrize("cell", [(0.5, 0.5), (2.0, 2.0), (1.0, 3.0)])
def test_the_damping_is_a_gaussian_blur(cell: tuple[float, float]) -> None:
    decoder, latent = lone_field()
    points = torch.rand(1, 5, 2) * 2 - 1
    # the one cell spans 2 units, so its unit is 2: the blur's deviation in coordinates is 2 sqrt(2 kappa t)
    sigma = [2 * math.sqrt(2 * float(decoder.diffusivity)) * side / 2 for side in cell]
    steps = torch.linspace(-6, 6, 121)
    shift = mesh([steps * s for s in sigma])
    weight = mesh([torch.exp(-(steps**2) / 2)] * 2).prod(-1)
    weight = weight / weight.sum()
    blurred = torch.zeros(1, 5, 3)
    for i in range(5):
        around = decoder.query(latent, points[:, i : i + 1] + shift[None], torch.zeros(1, 1, 2), {})
        blurred[:, i] = (weight[None, :, None] * around).sum(1)
    analytic = decoder.query(latent, points, torch.tensor(cell).reshape(1, 1, 2), {})
    # the sum over +-6 deviations in steps of 0.1 is exact to 1e-8; what is left is float32's
    torch.testing.assert_close(analytic, blurred, atol=5e-6, rtol=0)
    bare = decoder.query(latent, points, torch.zeros(1, 1, 2), {})
    assert (analytic - bare).abs().max() > 0.01  # and it is not the bare field


@torch.no_grad()
def test_a_larger_cell_is_smoother_and_none_damps_nothing() -> None:
    decoder, latent = lone_field(max_frequency=8)
    points = mesh(axes((40, 40)))[None]
    ask = lambda cell: decoder.query(latent, points, cell, {})  # noqa: E731
    rough = [ask(torch.full((1, 1, 2), c)).unflatten(1, (40, 40)).diff(dim=1).square().mean() for c in (0, 0.5, 1, 2)]
    assert all(later < 0.9 * earlier for earlier, later in itertools.pairwise(rough)), rough
    torch.testing.assert_close(ask(torch.full((1, 1, 2), 1e-6)), ask(None), atol=1e-6, rtol=0)
    assert torch.equal(ask(torch.zeros(1, 1, 2)), ask(None))
    assert ask(torch.full((1, 1, 2), 100.0)).abs().max() < 1e-6  # an endless pixel sees the mean, which is zero


@pytest.mark.parametrize("skip", ["nearest", "bilinear", "none"])
def test_render_points_tiles_cells_and_batches_agree(skip: str) -> None:
    assert_all_ways_agree(model_of(skip=skip), 5e-6)


def test_the_skip_is_the_picture() -> None:
    encoder = ik.create_encoder("edsr", blocks=1, channels=4)
    without = ik.create_decoder("thera", in_channels=4, skip="none")
    picture, wanted = torch.rand(1, 3, 5, 7), (11, 15)
    base = ik.ImplicitModel(encoder, without).encode(picture).render(wanted, clamp=False)
    for skip, options in (("nearest", {"mode": "nearest-exact"}), ("bilinear", {"mode": "bilinear"})):
        decoder = ik.create_decoder("thera", in_channels=4, skip=skip)
        decoder.load_state_dict(without.state_dict())
        output = ik.ImplicitModel(encoder, decoder).encode(picture).render(wanted, clamp=False)
        # the skip is added in model space, so the outputs differ by the picture minus 0.5
        torch.testing.assert_close(output - base, F.interpolate(picture, wanted, **options) - 0.5, atol=1e-5, rtol=0)


def test_the_gradient_by_coordinates_is_the_slope() -> None:
    """What the paper's total-variation prior needs, at a cell of 0."""
    field = model_of(max_frequency=2, skip="none").encode(torch.rand(3, 4, 4), grad=True)
    points = (torch.rand(20, 2) * 0.4 + 0.05).requires_grad_()  # within one cell of the 4 x 4
    (slope,) = torch.autograd.grad(field(points, 0.0)[:, 0].sum(), points)
    step = 1e-3
    for k in range(2):
        shift = torch.eye(2)[k] * step
        numeric = (field(points + shift, 0.0)[:, 0] - field(points - shift, 0.0)[:, 0]) / (2 * step)
        # frequencies reach 4 pi here: central differences err by 3e-4 of the amplitude, float32 by 1e-4
        torch.testing.assert_close(slope[:, k], numeric, atol=5e-3, rtol=0)
    assert slope.abs().max() > 0.5


def test_every_parameter_gets_a_gradient() -> None:
    model = model_of().train()
    model(torch.rand(2, 3, 6, 5), torch.rand(2, 7, 2), torch.rand(2, 7, 2) * 0.2).values.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_phases_stay_float32_under_autocast() -> None:
    model = model_of()
    picture, points = torch.rand(3, 8, 512), torch.rand(400, 2) * 2 - 1
    with torch.no_grad():
        model.decoder.hyper.weight.zero_()  # what is left is geometry and constants that bfloat16 holds exactly
        model.decoder.hyper.bias.copy_(torch.randn_like(model.decoder.hyper.bias).bfloat16())
    exact = model.encode(picture)(points, 0.0)
    low = model.encode(picture, precision="bfloat16")(points, 0.0)
    torch.testing.assert_close(low, exact, atol=1e-6, rtol=0)


def test_published_size() -> None:
    decoder = ik.create_decoder("thera")
    assert sum(p.numel() for p in decoder.parameters()) == 8_256 + 128 + 1  # the paper's, its bias and kappa
    assert decoder.frequencies.norm(dim=-1).max() <= 16 * math.pi


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="'cubic'"):
        Thera(skip="cubic")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_frequency=0"):
        Thera(max_frequency=0)
    with pytest.raises(ValueError, match="which has 3 channels, to 5 values"):
        model_of(out_channels=5).encode(torch.rand(3, 4, 4))


def test_equals_the_authors() -> None:
    assert max(errors("thera")) < BAR

"""LMF against a literal version of its equations: nothing folded, one point and one neighbour at a time."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import implicitkit as ik
from implicitkit.decoders.base import Inputs
from implicitkit.decoders.lmf import LMF, LMLTE
from implicitkit.encoders.base import Features
from oracles.formulas import unfold
from oracles.models import assert_all_ways_agree
from oracles.parts import BAR, errors

SIZES = {1: (11,), 2: (5, 7), 3: (3, 4, 5)}
SMALL = {"hidden": 4, "depth": 3, "latent_hidden": [8]}


def model_of(**decoder: object) -> ik.ImplicitModel:
    encoder = {"name": "edsr", "blocks": 1, "channels": 4}
    return ik.create_model({"encoder": encoder, "decoder": {"name": "lmf", **SMALL, **decoder}}).eval()


def render_mlp(decoder: LMF, modulation: Tensor, geometry: Tensor) -> Tensor:
    """The render MLP of one cell at one point, from its code, scales and shifts."""
    width, depth = decoder.hidden, decoder.depth
    code, scale, shift = modulation.split([width, width * depth, width * depth])
    hidden = torch.cat([code, geometry])
    for i, layer in enumerate([decoder.first, *decoder.rest]):
        part = slice(i * width, (i + 1) * width)
        hidden = F.relu((1 + scale[part]) * layer(hidden) + shift[part])
    return decoder.last(hidden)


def literal(decoder: LMF, features: Tensor, coords: Tensor, cell: Tensor) -> Tensor:
    """The paper's equations; ``features`` (B, D, *S), ``coords`` and ``cell`` (B, N, d)."""
    if decoder.latent[0].kernel_size[0] == 3:
        features = unfold(features)
    batch, _, *size = features.shape
    ndim = len(size)
    corners = list(itertools.product((-1, 1), repeat=ndim)) if decoder.local_ensemble else [(0,) * ndim]
    out = torch.zeros(batch, coords.shape[1], decoder.out_channels)
    for b, i in itertools.product(range(batch), range(coords.shape[1])):
        values, areas = [], []
        for corner in corners:
            index, offset = [], []
            for x, n, side in zip(coords[b, i].tolist(), size, corner, strict=True):
                shifted = min(max(x + (side / n + 1e-6) * abs(side), -1 + 1e-6), 1 - 1e-6)
                k = min(max(round(((shifted + 1) * n - 1) / 2), 0), n - 1)
                index.append(k)
                offset.append((x - (-1 + (2 * k + 1) / n)) * n)
            x = features[(b, slice(None), *index)]
            for layer in decoder.latent:
                x = F.linear(x, layer.weight.flatten(1), layer.bias) if hasattr(layer, "weight") else F.relu(x)
            geometry = torch.tensor(offset)
            if decoder.uses_cell:
                geometry = torch.cat([geometry, cell[b, i] * torch.tensor(size)])
            values.append(render_mlp(decoder, x, geometry))
            areas.append(abs(math.prod(offset)) + 1e-9)
        weights = [a / sum(areas) for a in reversed(areas)]
        out[b, i] = sum(v * w for v, w in zip(values, weights, strict=True))
    return out


@torch.no_grad()
@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("flags", [(True, True, True), (False, True, False), (True, False, True)], ids=str)
def test_equals_the_literal_formula(ndim: int, flags: tuple[bool, bool, bool]) -> None:
    ensemble, unfolded, cell_decode = flags
    decoder = LMF(4, 2, 4, 3, [8], local_ensemble=ensemble, feat_unfold=unfolded, cell_decode=cell_decode, ndim=ndim)
    features = torch.randn(2, 4, *SIZES[ndim])
    coords, cell = torch.rand(2, 15, ndim) * 2 - 1, torch.rand(2, 15, ndim) * 0.3
    latent = decoder.prepare(Features(features, SIZES[ndim]), Inputs(torch.zeros(2, 3, *SIZES[ndim])), {})
    ours = decoder.query(latent, coords, cell, {})
    torch.testing.assert_close(ours, literal(decoder, features, coords, cell), atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize(("depth", "latent_hidden"), [(1, []), (1, [5, 6]), (4, [])])
def test_any_depth(depth: int, latent_hidden: list[int]) -> None:
    decoder = LMF(4, 5, 3, depth, latent_hidden)
    features, coords, cell = torch.randn(1, 4, 5, 6), torch.rand(1, 9, 2) * 2 - 1, torch.full((1, 9, 2), 0.1)
    latent = decoder.prepare(Features(features, (5, 6)), Inputs(torch.zeros(1, 3, 5, 6)), {})
    ours = decoder.query(latent, coords, cell, {})
    torch.testing.assert_close(ours, literal(decoder, features, coords, cell), atol=1e-5, rtol=0)


def test_the_latent_network_runs_once_per_picture() -> None:
    model, calls = model_of(), []
    model.decoder.latent.register_forward_hook(lambda *_: calls.append(1))
    field = model.encode(torch.rand(3, 8, 9))
    for size in ((8, 9), (31, 17)):
        field.render(size)
    field(torch.rand(5, 2), 0.1)
    assert len(calls) == 1


def test_render_points_tiles_cells_and_batches_agree() -> None:
    assert_all_ways_agree(model_of(scale_max=None), 2e-6)


def test_only_renders_default_cell_stays_within_the_trained_scale() -> None:
    limited, free = model_of(), model_of(scale_max=None)
    free.load_state_dict(limited.state_dict())
    picture = torch.rand(3, 5, 4)
    for size, same in (((15, 12), True), ((20, 16), True), ((40, 32), False)):  # x3, x4 and x8
        one, other = (m.encode(picture).render(size, clamp=False) for m in (limited, free))
        assert torch.equal(one, other) == same
        explicit = [m.encode(picture).render(size, cell=0.01, clamp=False) for m in (limited, free)]
        assert torch.equal(*explicit)
    at_four = torch.tensor([2 / 20, 2 / 16])
    wanted = free.encode(picture).render((40, 32), cell=at_four, clamp=False)
    torch.testing.assert_close(limited.encode(picture).render((40, 32), clamp=False), wanted, atol=1e-6, rtol=0)


def test_every_parameter_gets_a_gradient() -> None:
    model = model_of().train()
    model(torch.rand(2, 3, 6, 5), torch.rand(2, 60, 2) * 2 - 1, torch.rand(2, 60, 2)).values.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_geometry_stays_float32_under_autocast() -> None:
    model = model_of()
    picture = torch.rand(3, 4, 1024)
    exact = model.encode(picture).render((4, 4096), clamp=False)
    low = model.encode(picture, precision="bfloat16").render((4, 4096), clamp=False)
    error = (exact - low).abs().max().item()
    assert low.dtype == torch.float32
    assert 0 < error < 0.02, error  # bfloat16 networks; a wrong neighbour would be off by the picture's own contrast


def test_published_size() -> None:
    decoder = ik.create_decoder("lmf")
    latent = 9 * 64 * 208 + 208 + 208 * 208 + 208
    assert sum(p.numel() for p in decoder.latent.parameters()) == latent
    rest = sum(p.numel() for p in decoder.parameters()) - latent
    assert rest == (20 * 16 + 16) + 5 * (16 * 16 + 16) + (16 * 3 + 3)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="depth=0"):
        LMF(depth=0)
    with pytest.raises(ValueError, match="received -1"):
        LMF(scale_max=-1)
    with pytest.raises(ik.ArgumentError, match="did you mean 'hidden'"):
        ik.create_decoder("lmf", hiden=3)


def test_lm_liif_equals_the_authors() -> None:
    assert max(errors("lm_liif")) < BAR


def test_lm_lte_equals_the_authors() -> None:
    assert max(errors("lm_lte")) < BAR


@pytest.mark.parametrize("latent_cell", [True, False])
def test_all_ways_to_ask_lm_lte_agree(latent_cell: bool) -> None:
    small = {"name": "lm_lte", "hidden": 4, "depth": 2, "latent_hidden": [8], "basis": 8, "latent_cell": latent_cell}
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": small}).eval()
    assert_all_ways_agree(model, 1e-5)


def test_the_latent_network_of_lm_lte_is_told_the_scale_unless_told_otherwise() -> None:
    encoder = {"name": "edsr", "blocks": 1, "channels": 4}
    for told in (True, False):
        decoder = {"name": "lm_lte", "hidden": 4, "depth": 1, "latent_hidden": [8], "basis": 8, "latent_cell": told}
        model = ik.create_model({"encoder": encoder, "decoder": decoder}).eval()
        field, points = model.encode(torch.rand(3, 8, 9)), torch.rand(20, 2) * 2 - 1
        assert model.decoder.exports is not told
        each = torch.rand(20, 2) * 0.2 + 0.05
        alone = torch.cat([field(point[None], cell) for point, cell in zip(points, each, strict=True)])
        same = torch.allclose(field(points, each), alone, atol=1e-5)
        assert same is not told  # the latent is told the mean of all points of a call


def test_bad_arguments_of_lm_lte_are_named() -> None:
    with pytest.raises(ValueError, match="hidden=5"):
        LMLTE(hidden=5)

"""The read-outs against PyTorch's own interpolation and a literal look-up, in one, two and three dimensions."""

import pytest
import torch
import torch.nn.functional as F

import implicitkit as ik
from implicitkit.coordinates import cell_size, grid
from implicitkit.decoders.base import Inputs
from implicitkit.decoders.readout import Bilinear, Nearest
from implicitkit.encoders.base import Features

SIZES = {1: (11,), 2: (5, 7), 3: (3, 4, 5)}
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def model_of(name: str, **decoder: object) -> ik.ImplicitModel:
    encoder = {"name": "edsr", "blocks": 1, "channels": 4}
    return ik.create_model({"encoder": encoder, "decoder": {"name": name, **decoder}}).eval()


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("project", [True, False])
def test_equal_interpolate_on_a_grid(ndim: int, project: bool) -> None:
    features = torch.randn(2, 4, *SIZES[ndim])
    wanted = tuple(2 * n + 1 for n in SIZES[ndim])
    axes = [torch.tensor([-1 + (2 * i + 1) / n for i in range(n)]) for n in wanted]
    for decoder, mode in ((Nearest, "nearest-exact"), (Bilinear, MODES[ndim])):
        readout = decoder(4, 3 if project else None, project=project, ndim=ndim)
        latent = readout.prepare(Features(features, SIZES[ndim]), Inputs(torch.zeros(2, 3, *SIZES[ndim])), {})
        ours = readout.query_grid(latent, axes, None, {})
        options = {} if mode == "nearest-exact" else {"align_corners": False}
        theirs = F.interpolate(features, wanted, mode=mode, **options)
        if readout.project is not None:  # theirs reads first and projects after
            theirs = torch.einsum("oc,bc...->bo...", readout.project.weight, theirs)
            theirs = theirs + readout.project.bias.reshape(-1, *(1,) * ndim)
        assert ours.shape == (2, 3 if project else 4, *wanted)
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)  # float32 rounding of weights


def test_points_read_the_cell_they_lie_in() -> None:
    features, points = torch.randn(2, 3, 4, 6), torch.rand(2, 50, 2) * 2 - 1
    readout = Nearest(3, project=False)
    latent = readout.prepare(Features(features, (4, 6)), Inputs(torch.zeros(2, 3, 4, 6)), {})
    ours = readout.query(latent, points, None, {})
    for b in range(2):
        for i, (y, x) in enumerate(points[b].tolist()):
            cell = features[b, :, int((y + 1) / 2 * 4), int((x + 1) / 2 * 6)]
            assert torch.equal(ours[b, i], cell)


@pytest.mark.parametrize("name", ["nearest", "bilinear"])
def test_render_points_tiles_and_batches_agree(name: str) -> None:
    model = model_of(name)
    pictures = torch.rand(2, 3, 13, 17)
    field, out = model.encode(pictures), (20, 31)
    rendered = field.render(out, clamp=False)
    at_points = field(grid(out)).transpose(1, 2).unflatten(2, out)
    torch.testing.assert_close(rendered, at_points, atol=2e-6, rtol=0)
    torch.testing.assert_close(model.encode(pictures, tile=6).render(out, clamp=False), rendered, atol=2e-6, rtol=0)
    single = model.encode(pictures[1]).render(out, clamp=False, block=7)
    torch.testing.assert_close(single, rendered[1], atol=2e-6, rtol=0)
    torch.testing.assert_close(field(grid(out), cell_size(out)), field(grid(out)), atol=0, rtol=0)  # knows no cell


@pytest.mark.parametrize("name", ["nearest", "bilinear"])
def test_every_parameter_gets_a_gradient(name: str) -> None:
    model = model_of(name).train()
    model(torch.rand(2, 3, 6, 5), torch.rand(2, 7, 2)).values.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_without_a_projection_values_are_the_features() -> None:
    model = model_of("bilinear", project=False)
    picture = torch.rand(3, 6, 5)
    field = model.encode(picture)
    assert (model.decoder.output, model.decoder.out_channels) == ("embedding", 4)
    assert not any(True for _ in model.decoder.parameters())
    with torch.no_grad():
        torch.testing.assert_close(field.render((6, 5)), model.encoder(picture[None]).map[0], atol=1e-6, rtol=0)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="4 features; received out_channels=3"):
        Nearest(4, 3, project=False)
    with pytest.raises(ValueError, match="received in_channels=0"):
        Bilinear(0)
    with pytest.raises(ik.ArgumentError, match="did you mean 'project'"):
        ik.create_decoder("nearest", projct=False)

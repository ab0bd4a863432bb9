"""The contract of encoders, decoders and models."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from implicitkit.coordinates import axes, mesh
from implicitkit.create import create_decoder, create_encoder, create_neck, load_model
from implicitkit.decoders.base import Decoder
from implicitkit.encoders.base import Encoder
from implicitkit.model import ImplicitModel
from implicitkit.necks.base import Neck
from implicitkit.registry.kinds import parse_part
from implicitkit.testing.closeness import assert_close
from implicitkit.testing.questions import check_graphs, check_questions, check_reach

SMALL_ENCODER = {"name": "edsr", "blocks": 1, "channels": 8, "res_scale": 1.0}
SMALL_DECODER = {"name": "liif", "hidden": [8]}

Spec = str | Mapping[str, Any]
T = TypeVar("T")


def check_encoder(spec: Spec | Encoder, *, size: tuple[int, int] = (21, 18), tile: int = 16) -> None:
    """Assert that an encoder keeps its contract: stride, extent, receptive field, and a working model with ``liif``.

    Args:
        spec: a name, a spec or a small encoder.
        size: of the test picture.
        tile: tile size, for encoders with a finite receptive field.

    >>> check_encoder({"name": "edsr", "blocks": 1, "channels": 4})
    """
    encoder = create_encoder(spec) if isinstance(spec, (str, Mapping)) else spec
    encoder.eval()
    picture = _picture(encoder.in_channels + encoder.mask_channels, size)
    with torch.no_grad():
        features = encoder(picture)
        assert features.map.shape[:2] == (2, encoder.out_channels), (
            f"the map has shape {tuple(features.map.shape)}; out_channels says {encoder.out_channels}"
        )
        assert all(e >= n for e, n in zip(features.extent, size, strict=True)), "the extent is less than the picture"
        assert torch.isfinite(features.map).all(), "a feature is not finite"
        pixel = encoder(picture[:, :, :1, :1]).map
        assert torch.isfinite(pixel).all(), "a picture of one pixel gives a feature that is not finite"
    _check_radius(encoder)
    decoder = {**SMALL_DECODER, "in_channels": encoder.out_channels}
    inputs = ("image", "mask") if encoder.mask_channels else ("image",)
    check_model(ImplicitModel(encoder, create_decoder(decoder), inputs=inputs), size=size, tile=tile)


def check_decoder(
    spec: Spec | Decoder, *, encoder: Spec = SMALL_ENCODER, size: tuple[int, int] = (21, 18), tile: int = 16
) -> None:
    """Assert that a decoder keeps its contract, on the features of a small encoder.

    Args:
        spec: a name, a spec or a small decoder.
        encoder: the encoder of its features.
        size: of the test picture.
        tile: tile size.

    >>> check_decoder({"name": "nearest"}, encoder={"name": "edsr", "blocks": 1, "channels": 4})
    """
    built = create_encoder(encoder)
    decoder = _after(built, spec, "decoder", create_decoder) if isinstance(spec, (str, Mapping)) else spec
    check_model(ImplicitModel(built, decoder), size=size, tile=tile)


def check_neck(
    spec: Spec | Neck, *, encoder: Spec = SMALL_ENCODER, size: tuple[int, int] = (21, 18), tile: int = 16
) -> None:
    """Assert that a neck keeps its contract, between a small encoder and ``liif``: cells, widths, radius, tiles.

    Args:
        spec: a name, a spec or a small neck.
        encoder: the encoder of its features.
        size: of the test picture.
        tile: tile size, for necks with a finite radius.

    >>> check_neck({"name": "thera_plus", "blocks": [[4, 1]]}, encoder={"name": "edsr", "blocks": 1, "channels": 4})
    """
    built = create_encoder(encoder)
    neck = _after(built, spec, "neck", create_neck) if isinstance(spec, (str, Mapping)) else spec
    map = torch.rand(2, neck.in_channels, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        refined = neck.eval()(map)
    assert refined.shape == (2, neck.out_channels, *size), (
        f"of {tuple(map.shape)} the neck made {tuple(refined.shape)}; it keeps the cells and gives out_channels"
    )
    decoder = create_decoder({**SMALL_DECODER, "in_channels": neck.out_channels})
    check_model(ImplicitModel(built, decoder, necks=[neck]), size=size, tile=tile)


def _after(encoder: Encoder, spec: Spec, kind: str, create: Callable[..., T]) -> T:
    """The part of a spec, told the encoder's width."""
    name, arguments = parse_part(spec, kind)
    return create(name, **{"in_channels": encoder.out_channels, **arguments})


def check_model(
    model: ImplicitModel, *, size: tuple[int, int] = (21, 18), tile: int = 16, tolerance: float = 1e-4
) -> None:
    """Assert what every model promises; it calls one function per promise.

    Args:
        model: any model, also with random weights.
        size: of the test picture.
        tile: tile size, for models with a finite receptive field.
        tolerance: largest difference between two ways to compute a value, relative to the largest value.

    >>> import implicitkit as ik
    >>> check_model(ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": "bilinear"}))
    """
    torch.manual_seed(0)
    model.eval()
    picture = _picture(model.encoder.in_channels, size)
    mask = (torch.rand(2, 1, *size) < 0.3).float() if model.takes_mask else None
    check_gradients(model, picture, mask)
    check_queries(model, picture, mask, tolerance)
    check_tiles(model, picture, mask, tile, tolerance)
    check_questions(model, model.encode(picture, mask), tolerance)
    check_reach(model)
    check_graphs(model, picture, tolerance)
    check_round_trip(model, picture, mask)


def check_gradients(model: ImplicitModel, picture: Tensor, mask: Tensor | None) -> None:
    """A loss on values at points reaches every trainable parameter.

    Parameters that start at zero (those of a residual branch) would stop the gradient, so they get other values here.
    """
    zeros = [p for p in model.parameters() if p.requires_grad and not p.any()]
    with torch.no_grad():
        for parameter in zeros:
            parameter.normal_(0, 0.1)
    coords = torch.rand(2, 97, 2) * 2 - 1
    prediction = model(picture, coords, torch.full((1, 1, 2), 0.05), mask)
    assert prediction.values.shape == (2, 97, model.decoder.out_channels), (
        f"97 points of 2 pictures gave {tuple(prediction.values.shape)}"
    )
    assert torch.isfinite(prediction.values).all(), "a value is not finite"
    model.zero_grad()
    (prediction.values * torch.randn_like(prediction.values)).sum().backward()
    unreached = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    model.zero_grad()
    with torch.no_grad():
        for parameter in zeros:
            parameter.zero_()
    assert not unreached, f"no gradient reaches {', '.join(unreached)}"


def check_queries(model: ImplicitModel, picture: Tensor, mask: Tensor | None, tolerance: float) -> None:
    """All queries agree: points, a grid, blocks, one picture or a batch; and a query does not change the model."""
    before = {key: value.clone() for key, value in model.state_dict().items()}
    field = model.encode(picture, mask)
    size = (31, 17)
    grid = field.render(size, clamp=False)
    assert grid.shape == (2, model.decoder.out_channels, *size), f"render{size} gave {tuple(grid.shape)}"
    assert torch.equal(grid, field.render(size, clamp=False)), "rendering twice gives two pictures"
    cell = model.decoder.default_cell(torch.tensor([2 / n for n in size]), field._latents.extent)
    points = field(mesh(axes(size)), cell).transpose(1, 2).reshape(grid.shape)
    assert_close(points, grid, tolerance, "values at points differ from the grid's")
    assert_close(field.render(size, clamp=False, block=50), grid, tolerance, "blocks change the picture")
    alone = model.encode(picture[:1], None if mask is None else mask[:1]).render(size, clamp=False)
    assert_close(alone, grid[:1], tolerance, "a picture alone differs from the same in a batch")
    low = model.encode(picture, mask, precision="bfloat16").render(size, clamp=False)
    assert torch.isfinite(low).all(), "bfloat16 gives a value that is not finite"
    one = model.encode(picture[:, :, :1, :1], None if mask is None else mask[:, :, :1, :1]).render((3, 2))
    assert torch.isfinite(one).all(), "a picture of one pixel gives a value that is not finite"
    changed = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    assert not changed, f"a query changed the model's {', '.join(changed)}"


def check_tiles(model: ImplicitModel, picture: Tensor, mask: Tensor | None, tile: int, tolerance: float) -> None:
    """Tiles of an encoder with a finite radius make no seams; a global encoder refuses tiles."""
    if model.sight is None:
        try:
            model.encode(picture, mask, tile=tile)
        except ValueError:
            return
        raise AssertionError("a model that sees the whole picture at once must refuse tiles")
    whole = model.encode(picture, mask).render((29, 33), clamp=False)
    tiled = model.encode(picture, mask, tile=tile).render((29, 33), clamp=False)
    assert_close(tiled, whole, tolerance, "tiles change the picture (is the radius or the reach too small?)")


def check_round_trip(model: ImplicitModel, picture: Tensor, mask: Tensor | None) -> None:
    """Saved and loaded, a model that was built by name renders the same bits."""
    try:
        model.spec  # noqa: B018
    except ValueError:  # not built by name, so it cannot be saved
        return
    expected = model.encode(picture, mask).render((15, 14), clamp=False)
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_model(model.save(Path(folder) / "model.safetensors"))
    assert torch.equal(loaded.encode(picture, mask).render((15, 14), clamp=False), expected), (
        "the model that was saved and loaded renders another picture"
    )


def _check_radius(encoder: Encoder) -> None:
    """A feature at the middle depends on pixels within the declared radius alone."""
    if encoder.radius is None:
        return
    reach = encoder.radius // encoder.size_multiple * encoder.size_multiple + 2 * encoder.size_multiple
    picture = _picture(encoder.in_channels + encoder.mask_channels, (2 * reach + encoder.size_multiple,) * 2)[:1]
    picture.requires_grad_()
    map = encoder(picture).map
    middle = map.shape[2] // 2
    (gradient,) = torch.autograd.grad(map[:, :, middle, middle].sum(), picture)
    rows = gradient.abs().sum((0, 1, 3)).nonzero().flatten()
    first, last = middle * encoder.stride, (middle + 1) * encoder.stride - 1
    radius = max(first - int(rows.min()), int(rows.max()) - last) if len(rows) else 0
    assert radius <= encoder.radius, f"a feature sees {radius} pixels away; radius says {encoder.radius}"


def _picture(channels: int, size: tuple[int, int]) -> Tensor:
    return torch.rand(2, channels, *size, generator=torch.Generator().manual_seed(0))

"""A picture that is too large to encode is encoded in tiles; the result is the same."""

from __future__ import annotations

import pytest
import torch

from implicitkit import kernels
from implicitkit.field import latents
from oracles.memory import Limited, grid_points
from oracles.models import conditioned_model, small_model

pytestmark = pytest.mark.usefixtures("either_way")

EXACT = {"atol": 2e-6, "rtol": 0.0}


def test_a_picture_too_large_to_encode_is_encoded_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    model, picture = small_model(blocks=1), torch.rand(1, 3, 130, 140)
    expected = model.encode(picture).render((150, 160), clamp=False)
    limited = Limited(model.encoder.extract, lambda x: x.shape[2] * x.shape[3], 50 * 50)
    monkeypatch.setattr(model.encoder, "extract", limited)
    for tile in (None, 120):
        field = model.encode(picture, tile=tile)
        torch.testing.assert_close(field.render((150, 160), clamp=False), expected, **EXACT)
        assert field._latents.tiling.tile < latents.MIN_TILE + 8
        points = torch.rand(1, 40, 2) * 2 - 1
        again = model.encode(picture, tile=tile)  # asked at points first
        values = again(points, 0.1)
        torch.testing.assert_close(values, field(points, 0.1), **EXACT)
    assert limited.failed


def test_what_cannot_be_made_smaller_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model, picture = small_model(), torch.rand(3, 70, 70)
    field = model.encode(picture)
    monkeypatch.setattr(kernels, "query_grid", Limited(kernels.query_grid, grid_points, 0))
    with pytest.raises(torch.OutOfMemoryError):
        field.render((9, 9))
    monkeypatch.setattr(model.encoder, "extract", Limited(model.encoder.extract, lambda x: x.numel(), 0))
    with pytest.raises(torch.OutOfMemoryError):
        model.encode(picture).render((9, 9))
    with pytest.raises(torch.OutOfMemoryError):  # a graph is wanted: nothing can be tried again behind one's back
        model.encode(picture, grad=True)


def test_conditions_shrink_on_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    model, picture = conditioned_model(), torch.rand(1, 3, 90, 80)
    expected = model.encode(picture).render((40, 50), clamp=False)
    encoder = model.conditions["semantic"].encoder
    monkeypatch.setattr(encoder, "extract", Limited(encoder.extract, lambda x: x.shape[2] * x.shape[3], 60 * 60))
    torch.testing.assert_close(model.encode(picture).render((40, 50), clamp=False), expected, **EXACT)


def test_what_cannot_fit_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux may kill a process that asks for too much: what the features take at the least is compared before."""
    model, picture = small_model(blocks=1), torch.rand(1, 3, 130, 140)
    expected = model.encode(picture).render((150, 160), clamp=False)
    sizes: list[int] = []
    extract = model.encoder.extract
    monkeypatch.setattr(model.encoder, "extract", lambda x: (sizes.append(x.shape[2] * x.shape[3]), extract(x))[1])
    monkeypatch.setattr(latents, "free_memory", lambda device: 60 * 60 * model.encoder.out_channels * 2 * 4)
    for tile in (None, 4096):
        torch.testing.assert_close(model.encode(picture, tile=tile).render((150, 160), clamp=False), expected, **EXACT)
    assert max(sizes) <= 60 * 60
    with pytest.raises(
        ValueError, match=r"140×130 pixels with grad=True takes [\d.]+ GB at least, 0.0 GB are free; take"
    ):
        model.encode(picture, grad=True)
    monkeypatch.setattr(model.encoder, "radius", None)
    with pytest.raises(ValueError, match="pixels by edsr, which sees all of it at once, takes"):
        model.encode(picture)


def test_as_many_tiles_are_kept_as_asked_for() -> None:
    model, picture = conditioned_model(), torch.rand(3, 48, 64)
    field = model.encode(picture, tile=16)
    expected = field.render((30, 40))
    assert len(field._latents._cached) == latents.MAX_CACHED_TILES
    latents.keep_tiles(field, 20)
    torch.testing.assert_close(field.render((30, 40)), expected)
    assert len(field._latents._cached) == 12 and len(field._read["semantic"]._latents._cached) > 2

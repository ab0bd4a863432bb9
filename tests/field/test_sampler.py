"""Running out of memory is answered by trying less at a time; the result is the same."""

from __future__ import annotations

import pytest
import torch

from implicitkit import kernels
from implicitkit.field import sampler
from implicitkit.kernels.pool import MAX_WORKERS
from oracles.memory import Limited, grid_points
from oracles.models import small_model

pytestmark = pytest.mark.usefixtures("either_way")

EXACT = {"atol": 2e-6, "rtol": 0.0}


@pytest.mark.parametrize("tile", [None, 9])
@pytest.mark.parametrize("most", [1, 7, 30])
def test_blocks_shrink_until_they_fit(tile: int | None, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, picture = small_model(), torch.rand(2, 3, 13, 17)
    field = model.encode(picture, tile=tile)
    expected = field.render((13, 11), clamp=False)
    limited = Limited(kernels.query_grid, grid_points, most)
    monkeypatch.setattr(kernels, "query_grid", limited)
    torch.testing.assert_close(field.render((13, 11), clamp=False), expected, **EXACT)
    assert limited.failed and limited.failed <= 12  # what failed once is not tried again
    windows = [window for window, _ in field.blocks((13, 11))]
    seen = torch.zeros(13, 11)
    for window in windows:
        seen[window] += 1
    assert bool((seen == 1).all())


@pytest.mark.parametrize("tile", [None, 9])
def test_lists_of_points_shrink_too(tile: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    model, picture = small_model(), torch.rand(2, 3, 13, 17)
    field = model.encode(picture, tile=tile)
    points, cells = torch.rand(2, 300, 2) * 2 - 1, torch.rand(2, 300, 2) * 0.1
    expected = field(points, cells), field(points, 0.1)
    limited = Limited(kernels.query, lambda decoder, latent, coords, *_: coords.shape[1], 11)
    monkeypatch.setattr(kernels, "query", limited)
    torch.testing.assert_close(field(points, cells), expected[0], **EXACT)
    torch.testing.assert_close(field(points, 0.1), expected[1], **EXACT)
    assert limited.failed


def test_blocks_follow_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    one, batch = model.encode(torch.rand(3, 8, 8))._sampler, model.encode(torch.rand(4, 3, 8, 8))._sampler
    each = torch.rand(1, 9, 2)  # a cell for each point: no kernel
    assert one.block(each) == sampler.CPU_BLOCK * min(torch.get_num_threads(), MAX_WORKERS)
    monkeypatch.setattr(sampler, "free_memory", lambda device: 100 * sampler.QUERY_BYTES)
    assert one.block(each) == one.block(None) == 100 and batch.block(each) == batch.block(None) == 25
    monkeypatch.setattr(sampler, "free_memory", lambda device: 0)
    assert one.block(each) == one.block(None) == 1

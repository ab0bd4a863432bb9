"""Regions are cut into blocks that cover them once; out of memory halves what is left."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from implicitkit.field.tiles import Window, assembled, check_room, in_blocks, points_of, windows
from oracles.models import small_model

REGION = (slice(3, 20), slice(5, 34))


@settings(deadline=None)
@given(st.tuples(*[st.integers(1, 120)] * 2), st.integers(1, 300))
def test_windows_cover_a_region_once(size: tuple[int, int], block: int) -> None:
    seen = torch.zeros(size)
    for window in windows((slice(0, size[0]), slice(0, size[1])), block):
        assert points_of(window) <= block
        seen[window] += 1
    assert bool((seen == 1).all())


@pytest.mark.parametrize("most", [1, 7, 100])
def test_blocks_halve_where_memory_runs_out_and_stay_small(most: int) -> None:
    failed, seen = [], torch.zeros(40, 40)

    def evaluate(window: Window) -> torch.Tensor:
        if points_of(window) > most:
            failed.append(points_of(window))
            raise MemoryError
        return torch.ones([span.stop - span.start for span in window])

    for window, values in in_blocks(evaluate, [REGION, (slice(20, 40), slice(5, 34))], 400):
        seen[window] += values
    assert bool((seen[3:, 5:34] == 1).all()) and seen.sum() == 37 * 29
    assert len(failed) <= 9 and failed == sorted(failed, reverse=True)


def test_what_cannot_be_made_smaller_or_must_not_be_is_an_error() -> None:
    calls = []

    def fail(window: Window) -> torch.Tensor:
        calls.append(points_of(window))
        raise MemoryError

    with pytest.raises(MemoryError):
        list(in_blocks(fail, [REGION], 400))
    assert calls[-1] == 1
    calls.clear()
    with pytest.raises(MemoryError):
        list(in_blocks(fail, [REGION], 400, retry=False))
    assert len(calls) == 1


def test_a_canvas_beyond_memory_is_refused_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    field = small_model().encode(torch.rand(3, 6, 7))
    with pytest.raises(MemoryError, match="a picture of 2000000000×1000000000 pixels needs 24,000,000,000.0 GB"):
        field.render((10**9, 2 * 10**9))
    monkeypatch.setattr("implicitkit.field.tiles.free_memory", lambda device: 0)
    assert field.render((4, 5)).shape == (3, 4, 5)  # small ones are not counted
    check_room((10**9, 10**9), 3, torch.device("cpu"), torch.empty(0))  # it is there


def test_a_canvas_of_one_fresh_piece_is_the_piece() -> None:
    values = torch.rand(1, 3, 4, 5)
    piece = [((slice(0, 4), slice(0, 5)), values)]
    assert assembled(piece, (4, 5), fresh=True).data_ptr() == values.data_ptr()
    assert assembled(piece, (4, 5)).data_ptr() != values.data_ptr()
    turned = [(piece[0][0], values.transpose(2, 3).contiguous().transpose(2, 3))]
    assert assembled(turned, (4, 5), fresh=True).is_contiguous()
    out = torch.empty(1, 3, 4, 5)
    assert assembled(piece, (4, 5), out, fresh=True) is out and torch.equal(out, values)
    assert assembled([(piece[0][0], out)], (4, 5), out) is out and torch.equal(out, values)  # it lies there already

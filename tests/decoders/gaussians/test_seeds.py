"""The windows of seeds: which pairs share a bias, and that windows move."""

import pytest
import torch

from implicitkit.decoders.gaussians.seeds import among_block, cross_block, lattices


@pytest.mark.parametrize(("seeds", "window"), [(4, 4), (3, 6), (6, 3), (4, 3), (12, 12)])
def test_pairs_at_one_distance_share_a_row_and_no_others(seeds: int, window: int) -> None:
    index, rows = lattices(seeds, window)
    assert index.shape == (seeds**2, window**2) and int(index.min()) >= 0 and int(index.max()) < rows
    place = lambda n: [((k // n + 0.5) / n, (k % n + 0.5) / n) for k in range(n * n)]  # noqa: E731
    by_row: dict[int, set[tuple[int, ...]]] = {}
    for s, (y, x) in enumerate(place(seeds)):
        for c, (v, u) in enumerate(place(window)):
            apart = tuple(round(d * 2 * seeds * window) for d in (y - v, x - u))
            by_row.setdefault(int(index[s, c]), set()).add(apart)
    assert all(len(distances) == 1 for distances in by_row.values())
    assert len(by_row) == len({next(iter(distances)) for distances in by_row.values()})


@torch.no_grad()
def test_windows_are_connected_by_layers_that_move_them() -> None:
    torch.manual_seed(0)
    code, size = torch.zeros(4, 1, 8), (8, 8)
    for layers, connected in ((1, False), (2, True)):
        block = among_block(8, 2, layers, 4).double()
        seeds = torch.rand(4, 16, 8, dtype=torch.float64)
        changed = seeds.clone()
        changed[0] += 1 + torch.rand(16, 8)
        before, after = (block(x, size, code.double(), 4) for x in (seeds, changed))
        assert bool((before[3] != after[3]).any()) is connected


@torch.no_grad()
def test_seeds_read_their_own_window_and_then_a_moved_one() -> None:
    torch.manual_seed(0)
    seeds, places, code = torch.rand(4, 9, 8, dtype=torch.float64), torch.rand(9, 8).double(), torch.zeros(4, 1, 8)
    map = torch.rand(1, 8, 8, 8, dtype=torch.float64)
    changed = map.clone()
    changed[:, 6:, 6:] += 1
    for layers, reached in ((1, [False, False, False, True]), (2, [False, False, False, True])):
        block = cross_block(8, 2, layers, 3, 4).double()
        before, after = (block(seeds, places, x, code.double(), 4) for x in (map, changed))
        assert [bool((before[k] != after[k]).any()) for k in range(4)] == reached
    changed = map.clone()
    changed[:, 4, 4] += 1  # of the last window; moved by two, of the first one
    block = cross_block(8, 2, 2, 3, 4).double()
    before, after = (block(seeds, places, x, code.double(), 4) for x in (map, changed))
    assert [bool((before[k] != after[k]).any()) for k in range(4)] == [True, False, False, True]

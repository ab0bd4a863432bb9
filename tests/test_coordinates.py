import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from implicitkit.coordinates import axes, cell_size, check_box, check_size, grid, mirrored, nearest_index, pixel_centres


@given(st.integers(1, 5000))
def test_centres_cover_the_extent_evenly(n: int) -> None:
    centres = pixel_centres(n)
    assert centres.dtype == torch.float32
    exact = torch.tensor([-1 + (2 * i + 1) / n for i in range(n)], dtype=torch.float64)
    assert torch.equal(centres, exact.float())


@given(st.integers(1, 20000))
def test_every_centre_is_nearest_to_its_own_pixel(n: int) -> None:
    assert torch.equal(nearest_index(pixel_centres(n), n), torch.arange(n))


@pytest.mark.parametrize("n", [4, 7, 19, 26, 512])
def test_nearest_index_is_that_of_grid_sample(n: int) -> None:
    x = torch.cat([torch.linspace(-1, 1, 4001), pixel_centres(2 * n), pixel_centres(3 * n), pixel_centres(n * 7 // 2)])
    picture = torch.arange(n, dtype=torch.float32).reshape(1, 1, 1, n)
    at = torch.stack([x, torch.zeros_like(x)], dim=-1)[None, None]
    found = torch.nn.functional.grid_sample(picture, at, mode="nearest", align_corners=False, padding_mode="border")
    assert torch.equal(nearest_index(x, n), found.flatten().long())


def test_ties_round_half_to_even() -> None:
    # borders between the cells of an axis of 4: -0.5, 0, 0.5 lie at positions 0.5, 1.5, 2.5
    assert nearest_index(torch.tensor([-0.5, 0.0, 0.5]), 4).tolist() == [0, 2, 2]


def test_bfloat16_would_pick_other_cells() -> None:
    x = pixel_centres(4096)
    wrong = nearest_index(x.bfloat16().float(), 1024) != nearest_index(x, 1024)
    assert wrong.float().mean() > 0.3


@pytest.mark.parametrize("size", [(5,), (3, 4), (2, 3, 4)])
def test_grid_runs_over_the_last_axis_first(size: tuple[int, ...]) -> None:
    points = grid(size)
    assert points.shape == (torch.tensor(size).prod(), len(size))
    assert torch.equal(points.reshape(*size, -1)[(0,) * len(size)], torch.stack([a[0] for a in axes(size)]))
    if len(size) > 1:
        assert torch.equal(points[: size[-1], -1], axes(size)[-1])


def test_a_box_is_a_window_of_the_finer_grid() -> None:
    whole = axes((8, 8))
    window = axes((4, 2), box=(-1.0, 0.0, 0.0, 0.5))
    torch.testing.assert_close(window[0], whole[0][:4])
    torch.testing.assert_close(window[1], whole[1][4:6])
    assert cell_size((4, 2), (-1.0, 0.0, 0.0, 0.5)).tolist() == [0.25, 0.25]
    assert cell_size((4, 5)).tolist() == pytest.approx([0.5, 0.4])


@pytest.mark.parametrize("box", [(0, 0, 0, 1), (0, 0, 1), (0.5, 0, 0, 1), (0, 0, float("nan"), 1)])
def test_bad_boxes_are_named(box: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="received"):
        check_box(box, 2)


@pytest.mark.parametrize("size", [(0, 3), (3,), (2.5, 3), (-1, 2)])
def test_bad_sizes_are_named(size: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="received"):
        check_size(size, 2)


def test_mirrored_positions_repeat_the_outermost_pixel() -> None:
    assert mirrored(torch.arange(-3, 4), 1).tolist() == [0] * 7
    assert mirrored(torch.arange(-2, 6), 4).tolist() == [1, 0, 0, 1, 2, 3, 3, 2]
    assert mirrored(torch.tensor([[-9], [7]]), 3).tolist() == [[2], [1]]


@pytest.mark.parametrize(("n", "pixels"), [(10, 15), (7, 21), (4, 2), (12, 20), (9, 27), (2, 3)])
def test_ties_away_from_zero_go_to_the_cell_after_the_border(n: int, pixels: int) -> None:
    wanted = [min(n - 1, (2 * i + 1) * n // (2 * pixels)) for i in range(pixels)]
    assert nearest_index(pixel_centres(pixels), n, ties="away").tolist() == wanted

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import implicitkit as ik
from implicitkit.degradations.base import seeded
from implicitkit.images.resize import resize


@given(st.floats(1, 8), st.integers(1, 300))
def test_sizes_follow_the_protocol(scale: float, n: int) -> None:
    degradation = ik.create_degradation("super_resolution", scale=scale)
    record = degradation.sample((3, n, n), seeded(0))
    if n < scale * (1 - 1e-6):
        with pytest.raises(ValueError, match="nothing left"):
            degradation.apply(torch.zeros(3, n, n), record)
        return
    seen = degradation.apply(torch.zeros(3, n, n), record)
    low = int(n / scale + 1e-6)
    assert seen.image.shape[1:] == (low, low)
    assert seen.reference.shape[1] == min(n, round(low * scale))


@given(st.floats(1, 8), st.integers(1, 64))
def test_the_source_size_gives_exactly_the_crop_asked_for(scale: float, patch: int) -> None:
    degradation = ik.create_degradation("super_resolution", scale=scale)
    record = degradation.sample((3, 1, 1), seeded(0))
    source = degradation.source_size((patch, patch), record)
    seen = degradation.apply(torch.zeros(3, *source), record)
    assert seen.image.shape[1:] == (patch, patch)
    assert seen.reference.shape[1:] == (round(patch * scale),) * 2  # LIIF's training crop


def test_a_range_is_drawn_uniformly_and_shared_by_a_batch() -> None:
    degradation = ik.create_degradation("super_resolution", scale=[1, 4])
    drawn = torch.tensor([degradation.sample((3, 9, 9), seeded(k))["scale"][0] for k in range(400)])
    assert drawn.min() >= 1 and drawn.max() < 4
    assert abs(drawn.mean().item() - 2.5) < 4 * (3 / 12**0.5) / 400**0.5  # four standard errors
    seen = degradation(torch.rand(4, 3, 40, 40), seeded(0))
    assert len({tuple(r["scale"]) for r in seen.record}) == 1


def test_both_kernels_are_those_of_resize() -> None:
    picture = torch.rand(3, 40, 44)
    for kernel in ("matlab", "pil"):
        seen = ik.create_degradation("super_resolution", scale=4, kernel=kernel)(picture)
        assert torch.equal(seen.image, resize(picture, (10, 11), kernel).clamp(0, 1))


def test_per_axis_sizes() -> None:
    picture = torch.rand(3, 40, 44)
    assert ik.create_degradation("super_resolution", scale=[2, 4], per_axis=True)(picture).image.shape == (3, 20, 11)
    by_size = ik.create_degradation("super_resolution", size=[13, 7])(picture)
    assert by_size.image.shape == (3, 13, 7) and by_size.reference.shape == (3, 40, 44)


def test_quantising_rounds_to_levels_and_lets_the_gradient_through() -> None:
    picture = torch.rand(3, 12, 12, requires_grad=True)
    seen = ik.create_degradation("super_resolution", scale=2, quantise=True)(picture)
    torch.testing.assert_close(seen.image * 255, (seen.image * 255).round(), atol=1e-4, rtol=0)
    seen.image.sum().backward()
    assert picture.grad.abs().sum() > 0


def test_a_low_resolution_pixel_is_missing_if_any_source_is() -> None:
    mask = torch.zeros(1, 1, 9, 9)
    mask[..., 4, 4] = 1
    degradation = ik.create_degradation("super_resolution", scale=3)
    step = degradation.degrade(torch.rand(1, 3, 9, 9), mask, degradation.sample((3, 9, 9), seeded(0)))
    expected = torch.zeros(1, 1, 3, 3)
    expected[..., 1, 1] = 1
    assert torch.equal(step.mask, expected)


@pytest.mark.parametrize(
    "arguments",
    [
        {"scale": 2, "size": [3, 3]},
        {"scale": 0.5},
        {"scale": [4, 1]},
        {"scale": [1, 2, 3]},
        {"scale": float("nan")},
        {"scale": 2, "kernel": "x"},
    ],
)
def test_impossible_settings_are_named(arguments: dict[str, object]) -> None:
    with pytest.raises((ValueError, ik.ArgumentError), match="received"):
        ik.create_degradation("super_resolution", **arguments)

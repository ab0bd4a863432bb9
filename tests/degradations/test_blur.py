from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import implicitkit as ik
from implicitkit.degradations.base import seeded
from implicitkit.degradations.blur import anisotropic, disc, gaussian, kernels, motion


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.7])
@pytest.mark.parametrize("size", [(17, 23), (5, 3), (1, 1)])
def test_a_round_gaussian_is_scipys(sigma: float, size: tuple[int, int]) -> None:
    picture = torch.rand(2, *size, dtype=torch.float64)
    seen = ik.create_degradation("blur", sigma=sigma)(picture).image
    for ours, clean in zip(seen, picture, strict=True):  # scipy's "reflect" repeats the outermost pixel
        theirs = ndimage.gaussian_filter(clean.numpy(), sigma, mode="reflect", truncate=4.0)
        assert np.abs(ours.numpy() - theirs).max() < 1e-14


RECORDS: list[dict[str, Any]] = [
    {"kind": "anisotropic", "sigma": 2.0, "aspect": 0.3, "angle": 30.0},
    {"kind": "motion", "length": 7.5, "angle": 110.0},
    {"kind": "defocus", "radius": 2.6},
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r["kind"])
@pytest.mark.parametrize("size", [(11, 14), (3, 2)])
def test_pictures_are_convolved_with_the_kernel(record: dict[str, Any], size: tuple[int, int]) -> None:
    picture = torch.rand(1, *size, dtype=torch.float64)
    (kernel,) = kernels(record)
    rows, columns = (n // 2 for n in kernel.shape)
    padded = np.pad(picture[0].numpy(), ((rows, rows), (columns, columns)), mode="symmetric")
    theirs = np.zeros(size)
    for dy, dx in np.ndindex(kernel.shape):
        theirs += kernel[dy, dx] * padded[2 * rows - dy :, 2 * columns - dx :][: size[0], : size[1]]
    ours = ik.create_degradation("blur", kind=record["kind"]).apply(picture, record).image[0].numpy()
    assert np.abs(ours - theirs).max() < 1e-14


@given(st.floats(0, 6), st.floats(0.01, 1), st.floats(-360, 360))
@settings(max_examples=60, deadline=None)
def test_kernels_sum_to_1_are_odd_and_turn_about_their_middle(size: float, aspect: float, angle: float) -> None:
    drawn = [gaussian(size)[None], anisotropic(size, aspect * size, angle), motion(2 * size, angle), disc(size)]
    for kernel in drawn:
        assert abs(kernel.sum() - 1) < 1e-12 and kernel.min() >= 0
        assert all(n % 2 == 1 for n in kernel.shape)
        # a path along the edge between two rows falls into either, by rounding
        assert np.abs(kernel - kernel[::-1, ::-1]).max() < 1e-6 or angle % 45 < 1e-6


def moments(kernel: np.ndarray) -> np.ndarray:
    """The kernel's covariance over (x, y), y upwards."""
    reach = kernel.shape[0] // 2
    y, x = np.mgrid[reach : -reach - 1 : -1, -reach : reach + 1]
    return np.array([[(kernel * a * b).sum() for b in (x, y)] for a in (x, y)])


@pytest.mark.parametrize("angle", [0, 25, 90, 160])
def test_the_anisotropic_gaussian_has_its_two_widths_along_its_angle(angle: float) -> None:
    covariance = moments(anisotropic(4.0, 1.6, angle))
    a = math.radians(angle)
    for direction, sigma in (((math.cos(a), math.sin(a)), 4.0), ((-math.sin(a), math.cos(a)), 1.6)):
        assert abs(math.sqrt(np.array(direction) @ covariance @ np.array(direction)) / sigma - 1) < 0.01


def test_two_equal_widths_are_the_round_gaussian() -> None:
    assert np.abs(anisotropic(2.0, 2.0, 0) - np.outer(gaussian(2.0), gaussian(2.0))).max() < 1e-15
    assert np.abs(anisotropic(2.0, 2.0, 35) - np.outer(gaussian(2.0), gaussian(2.0))).max() < 1e-4  # cut elsewhere


@pytest.mark.parametrize(("length", "angle"), [(9.0, 17), (9.0, 90), (4.3, 135.5), (0.4, 60), (15.0, -30)])
def test_motion_weighs_the_path_inside_each_pixel(length: float, angle: float) -> None:
    kernel = motion(length, angle)
    reach, points = kernel.shape[0] // 2, 200_000
    along = ((np.arange(points) + 0.5) / points - 0.5) * length
    columns = np.rint(along * math.cos(math.radians(angle))).astype(int) + reach
    rows = np.rint(-along * math.sin(math.radians(angle))).astype(int) + reach
    slow = np.zeros_like(kernel)
    np.add.at(slow, (rows, columns), 1 / points)
    assert np.abs(kernel - slow).max() < 1e-4


def test_a_horizontal_motion_of_five_pixels_is_their_mean() -> None:
    assert np.abs(motion(5.0, 0)[3, 1:-1] - 0.2).max() < 1e-12  # the outermost columns are only touched
    assert motion(0.0, 33).tolist() == [[1.0]]


@pytest.mark.parametrize("radius", [0.8, 2.0, 3.7])
def test_defocus_weighs_the_area_inside_the_disc(radius: float) -> None:
    kernel = disc(radius)
    reach, fine = kernel.shape[0] // 2, 400
    centres = (np.arange((2 * reach + 1) * fine) + 0.5) / fine - reach - 0.5
    inside = centres[:, None] ** 2 + centres[None, :] ** 2 <= radius**2
    slow = inside.reshape(2 * reach + 1, fine, 2 * reach + 1, fine).mean((1, 3)) / (math.pi * radius**2)
    assert np.abs(kernel - slow).max() < 1e-3 / radius**2
    assert np.abs(kernel - kernel.T).max() < 1e-3 / radius**2
    assert disc(0.5).tolist() == [[1.0]]


def test_a_flat_picture_stays_flat_and_others_keep_their_range(photo: torch.Tensor) -> None:
    blur = ik.create_degradation("blur", kind=["gaussian", "anisotropic", "motion", "defocus"], sigma=5.0)
    for k in range(5):
        torch.testing.assert_close(blur(torch.full((3, 9, 7), 0.7), seeded(k)).image, torch.full((3, 9, 7), 0.7))
        seen = blur(photo * 3 - 1, seeded(k)).image  # what came in unclipped is not clipped
        assert seen.min() < -0.1 and seen.max() > 1.1


@pytest.mark.parametrize("record", [{"kind": "gaussian", "sigma": 0.6}, *RECORDS], ids=lambda r: r["kind"])
def test_a_pixel_is_missing_if_any_under_its_kernel_is(record: dict[str, Any]) -> None:
    mask = torch.zeros(1, 1, 13, 15)
    mask[..., 4, 1] = 1  # near the border, so that its mirror image counts too
    picture = torch.rand(1, 3, 13, 15)
    blur = ik.create_degradation("blur", kind=record["kind"])
    step = blur.degrade(picture, mask, record)
    kernel = np.ones((1, 1))
    for k in kernels(record):
        kernel = ndimage.convolve(np.pad(kernel, max(k.shape)), k, mode="constant")
    expected = ndimage.convolve(mask[0, 0].numpy().astype(float), (kernel > 1e-15).astype(float), mode="reflect") > 0.5
    assert torch.equal(step.mask[0, 0].bool(), torch.from_numpy(expected))
    known = ~torch.from_numpy(expected)  # and indeed: what the missing pixel shows matters nowhere else
    other = picture.clone()
    other[..., 4, 1] = 0
    assert torch.equal(blur.degrade(other, mask, record).image[..., known], step.image[..., known])
    assert not blur.degrade(picture, torch.zeros_like(mask), record).mask.any()


def test_it_is_differentiable() -> None:
    record = {"kind": "motion", "length": 4.0, "angle": 20.0}
    blur = ik.create_degradation("blur", kind="motion")
    picture = torch.rand(1, 2, 6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: blur.apply(x, record).image, picture)


def test_settings_are_drawn_from_their_ranges() -> None:
    blur = ik.create_degradation("blur", kind="anisotropic", sigma=[1, 3], aspect=[0.5, 0.6], angle=[10, 20])
    drawn = [blur.sample((3, 9, 9), seeded(k)) for k in range(300)]
    for key, low, high in (("sigma", 1, 3), ("aspect", 0.5, 0.6), ("angle", 10, 20)):
        values = torch.tensor([d[key] for d in drawn])
        assert values.min() >= low and values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 4 * ((high - low) / 12**0.5) / 300**0.5


@pytest.mark.parametrize(
    "arguments",
    [{"sigma": -1}, {"kind": "box"}, {"aspect": 0}, {"aspect": 2}, {"length": [3, 1]}, {"radius": "x"}, {"angle": 400}],
)
def test_impossible_settings_are_named(arguments: dict[str, Any]) -> None:
    with pytest.raises((ValueError, ik.ArgumentError), match="received"):
        ik.create_degradation("blur", **arguments)

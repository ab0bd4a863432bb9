"""The membrane and the plate, against a dense solution and scikit-image."""

from __future__ import annotations

import pytest
import torch
from skimage.restoration import inpaint_biharmonic
from torch import Tensor

import implicitkit as ik
from implicitkit.degradations.base import seeded
from implicitkit.images.harmonic import biharmonic_fill, harmonic_fill, laplacian

SIZES = [(1, 9), (9, 1), (5, 5), (16, 16), (17, 31)]


def holes(size: tuple[int, int], ratio: float = 0.5) -> tuple[Tensor, Tensor]:
    generator = seeded(3, *size)
    picture = torch.rand(2, 3, *size, generator=generator)
    mask = (torch.rand(2, 1, *size, generator=generator) < ratio).float()
    mask[:, :, 0, 0] = 0
    return picture, mask


def membrane(picture: Tensor, hole: Tensor) -> Tensor:
    """Every missing pixel the mean of its neighbours, by a dense solver, in float64."""
    height, width = hole.shape
    values, places = picture.double().clone(), hole.nonzero().tolist()
    matrix, right = torch.zeros(len(places), len(places), dtype=torch.float64), torch.zeros(len(places), 3).double()
    number = {tuple(place): k for k, place in enumerate(places)}
    for k, (y, x) in enumerate(places):
        for near in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if not (0 <= near[0] < height and 0 <= near[1] < width):
                continue
            matrix[k, k] += 1
            if near in number:
                matrix[k, number[near]] -= 1
            else:
                right[k] += values[:, near[0], near[1]]
    values[:, hole] = torch.linalg.solve(matrix, right).T
    return values.float()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ratio", [0.2, 0.9])
def test_a_membrane_equals_the_dense_solution(size: tuple[int, int], ratio: float) -> None:
    picture, mask = holes(size, ratio)
    filled = harmonic_fill(picture, mask)
    for k in range(2):
        assert torch.allclose(filled[k], membrane(picture[k], mask[k, 0] > 0.5), atol=1e-4)


def test_a_wide_hole_is_solved_to_the_bottom() -> None:
    picture, mask = holes((96, 80), 0)
    mask[:, :, 8:90, 5:70] = 1
    filled = harmonic_fill(picture, mask)
    assert float((laplacian(filled.double()) * (mask > 0.5)).abs().max()) < 1e-5
    assert torch.equal(filled[:1], harmonic_fill(picture[:1], mask[:1]))  # the rest of its batch does not matter


@pytest.mark.parametrize("size", [(9, 9), (17, 31), (40, 40)])
def test_a_plate_equals_scikit_image(size: tuple[int, int]) -> None:
    picture, mask = holes(size)
    drawn = ik.create_degradation({"name": "inpainting", "ratio": [0.3, 0.6]})
    for hole in (mask, drawn(picture, generator=seeded(0)).mask):
        filled = biharmonic_fill(picture, hole)
        for k in range(2):
            theirs = inpaint_biharmonic(
                picture[k].permute(1, 2, 0).double().numpy(), hole[k, 0].numpy() > 0.5, channel_axis=-1
            )
            assert torch.allclose(filled[k].permute(1, 2, 0).double(), torch.from_numpy(theirs), atol=1e-5)


def test_a_picture_without_a_hole_is_left_alone() -> None:
    picture, _ = holes((6, 7))
    nothing = torch.zeros(2, 1, 6, 7)
    assert harmonic_fill(picture, nothing) is picture and biharmonic_fill(picture, nothing) is picture


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"pictures \(B, C, H, W\) and masks"):
        harmonic_fill(torch.zeros(3, 8, 8), torch.zeros(1, 8, 8))

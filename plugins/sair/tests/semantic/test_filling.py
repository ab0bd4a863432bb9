import math

import pytest
import torch

from implicitkit_sair.semantic.filling import FILLS, fill_holes, surroundings


def black() -> torch.Tensor:
    return torch.tensor([-2.0, -1.0, -0.5]).reshape(3, 1, 1)


def case() -> tuple[torch.Tensor, torch.Tensor]:
    picture, mask = torch.randn(2, 3, 13, 9), torch.zeros(2, 1, 13, 9)
    mask[:, :, 4:10, 2:7] = 1
    return picture, mask


@pytest.mark.parametrize("how", FILLS)
def test_known_pixels_stay_and_missing_ones_do_not_matter(how: str) -> None:
    picture, mask = case()
    filled = fill_holes(picture, mask, how, black())
    inside = mask.expand_as(picture) == 1
    assert torch.equal(filled[~inside], picture[~inside])
    junk = torch.where(inside, math.nan, picture)
    assert torch.equal(fill_holes(junk, mask, how, black()), filled)


def test_mean_is_zero_and_zero_is_black() -> None:
    picture, mask = case()
    assert (fill_holes(picture, mask, "mean", black())[:, :, 5, 4] == 0).all()
    assert torch.equal(fill_holes(picture, mask, "zero", black())[0, :, 5, 4], black().flatten())


def slow_surroundings(picture: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """One channel ``(H, W)`` with a binary mask, pixel by pixel."""
    height, width = picture.shape
    if height == width == 1:
        return picture * known
    coarse, has = (torch.zeros((height + 1) // 2, (width + 1) // 2) for _ in range(2))
    for i in range(coarse.shape[0]):
        for j in range(coarse.shape[1]):
            block = [
                float(picture[y, x])
                for y in range(2 * i, min(2 * i + 2, height))
                for x in range(2 * j, min(2 * j + 2, width))
                if known[y, x]
            ]
            coarse[i, j], has[i, j] = (sum(block) / len(block), 1) if block else (0, 0)
    coarse = slow_surroundings(coarse, has)
    out = picture.clone()
    for y in range(height):
        for x in range(width):
            if not known[y, x]:
                v = min(max((y + 0.5) * coarse.shape[0] / height - 0.5, 0), coarse.shape[0] - 1)
                u = min(max((x + 0.5) * coarse.shape[1] / width - 0.5, 0), coarse.shape[1] - 1)
                i, j = int(v), int(u)
                below, right = min(i + 1, coarse.shape[0] - 1), min(j + 1, coarse.shape[1] - 1)
                top = coarse[i, j] * (1 - (u - j)) + coarse[i, right] * (u - j)
                bottom = coarse[below, j] * (1 - (u - j)) + coarse[below, right] * (u - j)
                out[y, x] = top * (1 - (v - i)) + bottom * (v - i)
    return out


def test_surroundings_are_pull_and_push() -> None:
    picture, mask = case()
    found = surroundings(picture, 1 - mask)
    for b, c in ((0, 1), (1, 2)):
        expected = slow_surroundings(picture[b, c], 1 - mask[b, 0])
        torch.testing.assert_close(found[b, c], expected, atol=1e-5, rtol=1e-5)


def test_a_hole_in_one_colour_is_filled_with_it() -> None:
    picture, mask = torch.full((1, 3, 40, 30), 0.7), torch.ones(1, 1, 40, 30)
    mask[..., 3, 4] = 0  # one known pixel is enough
    torch.testing.assert_close(surroundings(picture, 1 - mask), picture)
    assert not surroundings(picture, torch.zeros_like(mask)).any()

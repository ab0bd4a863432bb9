"""Holes filled with patches: texture goes on, known pixels stay, hopeless masks get a membrane."""

from __future__ import annotations

import pytest
import torch
from painters import picture

from implicitkit.images import fill_holes
from implicitkit_sair.inpainting import patches
from implicitkit_sair.inpainting.painting import inpaint
from implicitkit_sair.inpainting.patches import patch_fill


def checks(height: int, width: int) -> torch.Tensor:
    """A board whose fields are four pixels wide, ``(3, H, W)``."""
    y, x = torch.meshgrid(torch.arange(height) // 4, torch.arange(width) // 4, indexing="ij")
    return ((x + y) % 2).float().expand(3, -1, -1).contiguous()


def box(height: int, width: int, top: int, left: int, side: int) -> torch.Tensor:
    mask = torch.zeros(1, height, width)
    mask[:, top : top + side, left : left + side] = 1
    return mask


def error(found: torch.Tensor, clean: torch.Tensor, mask: torch.Tensor) -> float:
    return float((found - clean)[:, mask[0] > 0.5].abs().mean())


@pytest.mark.parametrize(("height", "width"), [(64, 80), (61, 47)])
def test_a_texture_goes_on_where_a_membrane_is_grey(height: int, width: int) -> None:
    clean, mask = checks(height, width), box(height, width, 18, 15, 17)
    found = patch_fill(clean, mask)
    membrane = fill_holes(clean[None], mask[None], "harmonic")[0]
    assert error(found, clean, mask) < 0.05 < 0.4 < error(membrane, clean, mask)
    assert torch.equal(found[:, mask[0] < 0.5], clean[:, mask[0] < 0.5])


def test_what_is_in_the_hole_is_not_read_and_the_answer_repeats() -> None:
    clean, mask = checks(48, 48), box(48, 48, 10, 20, 14)
    found = patch_fill(clean, mask)
    for inside in (0.0, 1.0, float("nan")):
        assert torch.equal(patch_fill(torch.where(mask > 0.5, inside, clean), mask), found)


def test_a_hole_at_the_border_and_in_a_corner() -> None:
    clean, mask = checks(56, 56), box(56, 56, 0, 0, 15) + box(56, 56, 41, 20, 15)
    assert error(patch_fill(clean, mask), clean, mask) < 0.1


def test_a_large_picture_is_searched_small_and_copied_sharp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "SEARCHED_SIDE", 60)
    y, x = torch.meshgrid(torch.arange(120) // 12, torch.arange(120) // 12, indexing="ij")
    clean = ((x + y) % 2).float().expand(3, -1, -1).contiguous()
    mask = box(120, 120, 40, 40, 40)
    found = patch_fill(clean, mask)
    assert error(found, clean, mask) < 0.1
    assert float(((found - 0.5).abs() > 0.49).float().mean()) > 0.9  # black or white: nothing is enlarged


@pytest.mark.parametrize("size", [(3, 3), (7, 7), (8, 30), (12, 12)])
def test_where_no_patch_is_known_a_membrane_fills(size: tuple[int, int]) -> None:
    clean = picture(*size)
    mask = torch.zeros(1, *size)
    mask[:, ::3, ::3] = 1
    found = patch_fill(clean, mask)
    assert torch.equal(found, fill_holes(clean[None], mask[None], "harmonic")[0])


def test_it_is_a_painter_by_name() -> None:
    clean, mask = checks(64, 64), box(64, 64, 20, 20, 16)
    assert error(inpaint("patches", clean, mask), clean, mask) < 0.05
    both = inpaint("patches", torch.stack([clean, 1 - clean]), mask)
    assert both.shape == (2, 3, 64, 64) and error(both[1], 1 - clean, mask) < 0.05

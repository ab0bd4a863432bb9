"""The coloured overlay and its legend."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from implicitkit_sair.segmentation.overlay import Panel, draw_overlay, legend, paint, palette


def test_colours_differ() -> None:
    colours = np.array(palette(60), dtype=int)
    distance = np.abs(colours[:, None] - colours[None]).sum(-1) + 1000 * np.eye(60, dtype=int)
    assert distance.min() > 20
    assert palette(3) == palette(60)[:3]  # a class keeps its colour however many there are


def test_paint_mixes_and_draws_seams() -> None:
    labels = torch.zeros(6, 8, dtype=torch.int64)
    labels[:, 4:] = 1
    grey = torch.full((3, 6, 8), 0.5)
    painted, colours = paint(grey, labels, 0.6), torch.tensor(palette(2)) / 255
    assert torch.allclose(painted[:, 0, 0], 0.5 * 0.4 + colours[0] * 0.6, atol=1e-6)
    assert torch.allclose(painted[:, 5, 7], 0.5 * 0.4 + colours[1] * 0.6, atol=1e-6)
    assert bool((painted[:, :, 3] < painted[:, :, 2]).all())


def test_the_legend_lists_what_is_shown() -> None:
    labels = torch.tensor([[0, 0, 0, 2]])
    rows = legend([Panel("", labels), Panel("", torch.full((1, 4), 2))], ["sky", "tree", "sea"])
    assert rows == [(2, "sea  25.0% / 100.0%"), (0, "sky  75.0% / 0.0%"), (None, "nowhere: tree")]
    assert legend([Panel("", labels)], [str(k) for k in range(9)])[-1] == (None, "nowhere: 7 others")


@pytest.mark.parametrize("size", [(16, 24), (400, 300), (40, 700)])
@pytest.mark.parametrize("classes", [1, 3, 60])
def test_overlays_of_any_shape(size: tuple[int, int], classes: int) -> None:
    labels = torch.arange(size[0] * size[1]).reshape(size) * classes // (size[0] * size[1])
    panels = [Panel("raw", labels), Panel("completed", labels)]
    drawn = draw_overlay(torch.rand(3, *size), panels, [f"class number {k}" for k in range(classes)])
    factor = max(1, -(-320 // max(size)))
    assert drawn.size[0] >= size[0] * factor and drawn.size[1] > 2 * size[1] * factor
    assert drawn.pixels.shape[2] == 3 and drawn.pixels.std() > 10

"""Pictures beside each other, labelled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from implicitkit.files import replacing
from implicitkit.images.io import Pixels

DPI = 110
MIN_PANEL, MAX_PANEL = 264, 400  # pixels; what is smaller is enlarged, what is larger shrunk


def sheet(rows: Sequence[Sequence[tuple[str, Pixels]]], titles: Sequence[str] = (), largest: int = MAX_PANEL) -> Figure:
    """A row of (label, picture ``(H, W, 3)`` uint8) under each title; ``largest`` is the most pixels that a picture is
    wide on the sheet.
    """
    columns = max(map(len, rows))
    width = max(p.shape[1] for row in rows for _, p in row)
    inches = (min(max(width, MIN_PANEL), largest) + 16) / DPI  # with the space between panels
    shares = [max(p.shape[0] / p.shape[1] for _, p in row) * inches + 0.55 for row in rows]
    figure = Figure(figsize=(inches * columns, sum(shares)), layout="constrained", dpi=DPI)
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=shares)[:, 0]
    for part, row, title in zip(parts, rows, [*titles, *[""] * len(rows)], strict=False):
        part.suptitle(title, fontsize=10, x=0.01, ha="left")
        for panel, cell in zip(part.subplots(1, columns, squeeze=False)[0], [*row, *[None] * columns], strict=False):
            panel.axis("off")
            if cell:
                panel.imshow(cell[1], interpolation="nearest")
                panel.set_title(cell[0], fontsize=8)
    return figure


def save_figure(figure: Figure, file: Path) -> None:
    """Write a figure, all of it or nothing."""
    with replacing(file) as temporary:
        figure.savefig(temporary)

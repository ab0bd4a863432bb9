"""How long a run will take, tried on a small part of its first picture."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import typer

from implicitkit.cli.progress import duration

if TYPE_CHECKING:
    from pathlib import Path

    from implicitkit.images.io import Picture

MIN_PIXELS_TO_TRY = 3e6  # output pixels that are done before a trial would pay
TRIAL_SIDE, TRIAL_PIXELS = 96, 4e5  # input pixels a side, and output pixels, of the trial
WORTH_SAYING_S = 15.0

Size = tuple[int, int]


def announce(
    first: Picture, sizes: Sequence[tuple[Size, Size]], enlarge: Callable[[Picture, Size], Any], processes: int = 1
) -> None:
    """Say how large the results are and about how long they take, on stderr, if that is long.

    Args:
        first: a picture of the run.
        sizes: of each picture, before and after, ``(H, W)``.
        enlarge: the work: a picture and its size afterwards.
        processes: that share the work.
    """
    seconds = estimate(first, sizes, enlarge) / processes
    if seconds < WORTH_SAYING_S:
        return
    pixels = sum(after[0] * after[1] for _, after in sizes) / 1e6
    results = f"{len(sizes)} pictures" if len(sizes) > 1 else f"{sizes[0][1][1]}×{sizes[0][1][0]}"
    typer.echo(f"{results}, {pixels:,.0f} megapixels: about {duration(seconds)}", err=True)


def estimate(first: Picture, sizes: Sequence[tuple[Size, Size]], enlarge: Callable[[Picture, Size], Any]) -> float:
    """Seconds that the pictures take; 0 if that is soon done.

    A part of the first picture is done twice: the first time, kernels are compiled and tuned.
    """
    before, after = (sum(h * w for h, w in column) for column in zip(*sizes, strict=True))
    if max(before, after) < MIN_PIXELS_TO_TRY:
        return 0.0
    scale = max((after / before) ** 0.5, 1e-3)
    side = max(8, min(TRIAL_SIDE, int(TRIAL_PIXELS**0.5 / scale), *first.size))
    part = middle(first, side)
    trial = min(scale, TRIAL_PIXELS**0.5 / side)  # eight pixels, magnified a thousand times, are no small part
    size = (max(1, round(part.size[0] * trial)), max(1, round(part.size[1] * trial)))
    for _ in range(2):
        start = time.perf_counter()
        enlarge(part, size)
        seconds = time.perf_counter() - start
    return seconds * float(max(after / (size[0] * size[1]), before / (part.size[0] * part.size[1])))


def middle(picture: Picture, side: int) -> Picture:
    """The middle ``side``×``side`` pixels of a picture, or what it has of them."""
    from dataclasses import replace

    top, left = (max(0, (n - side) // 2) for n in picture.size)
    window = slice(top, top + side), slice(left, left + side)
    return replace(picture, pixels=picture.pixels[window], alpha=None)


def picture_sizes(sources: Sequence[Path]) -> list[Size | None]:
    """``(H, W)`` of each picture as its header has it; None of what cannot be read."""
    from implicitkit.images.survey import stored_size

    return [stored_size(source) for source in sources]

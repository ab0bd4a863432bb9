"""What the command line takes: from its start to the first pixel, and for a picture larger than memory likes."""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from benchmarks import child
from benchmarks.rows import Row
from benchmarks.speed import Settings
from benchmarks.subjects import picture
from implicitkit.images.io import write_image

COLD_SIDE = 64
LARGE_SIDES = (1024, 2048, 4096)
PEAK_GOAL = 3.0  # GB
EVEN = 1.15  # the dearest added pixel over the cheapest, where time is linear in the area


def cold_row(settings: Settings, side: int = COLD_SIDE) -> Row:
    """A first ``implicitkit upscale`` of a small picture, in a process of its own, against importing torch in one."""
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small.png", Path(folder) / "large.png"
        write_image(small, picture(side))
        ways = {
            "import_torch": [sys.executable, "-c", "import torch"],
            "upscale": upscale_command(small, large, "--force", "--device", settings.device.type),
        }
        for command in ways.values():
            child.run(command)  # the files are in the system's cache from here on, for both
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(settings.repeats):
            for way, command in ways.items():
                taken[way].append(child.run(command).seconds)
    seconds = {way: statistics.median(each) for way, each in taken.items()}
    return Row(
        "cold",
        f"a cold `implicitkit upscale` of {side}²; goal: 1.3 × `import torch` + 0.5 s",
        "s",
        seconds["upscale"],
        1.3 * seconds["import_torch"] + 0.5,
        at_most=True,
        note=f"`import torch` takes {seconds['import_torch']:.2f} s",
        details=seconds,
    )


def large_rows(settings: Settings, sides: Sequence[int] = LARGE_SIDES) -> list[Row]:
    """Pictures of several sizes times four, from the command line: the memory of the largest, and time over area."""
    rows, taken = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for side in sides:
            small, large = Path(folder) / f"{side}.png", Path(folder) / "large.png"
            write_image(small, picture(side))
            flags = ("--scale", "4", "--precision", "bfloat16", "--device", settings.device.type, "--force")
            done = child.run(upscale_command(small, large, *flags))
            small.unlink()
            pixels = (4 * side) ** 2
            taken[side] = done.seconds
            rows.append(
                Row(
                    f"large/{side}",
                    f"liif_small, {side}²→{4 * side}² from the command line, bfloat16: peak resident memory",
                    "GB",
                    done.peak / 1e9,
                    PEAK_GOAL if side == LARGE_SIDES[-1] else None,
                    at_most=True,
                    note=f"{done.seconds:.0f} s, {pixels / done.seconds / 1e6:.2f} megapixels per second; the canvas "
                    f"is {3 * pixels / 1e9:.2f} GB",
                    details={"seconds": done.seconds, "peak_bytes": float(done.peak)},
                )
            )
    return [*rows, linear_row(taken)]


def linear_row(taken: Mapping[int, float]) -> Row:
    """Whether time is linear in the area: what one more pixel costs between one size and the next. The seconds that a
    process takes to start belong to none of them.

    Args:
        taken: seconds by side of the input, at least three, whose pictures are enlarged by four.
    """
    area = {side: (4 * side) ** 2 for side in sorted(taken)}
    added = [1e9 * (taken[b] - taken[a]) / (area[b] - area[a]) for a, b in pairwise(area)]
    each = {side: 1e9 * seconds / area[side] for side, seconds in taken.items()}
    return Row(
        "large/linear",
        f"the dearest added pixel over the cheapest, from {4 * min(area)}² to {4 * max(area)}²",
        "x",
        max(added) / min(added) if min(added) > 0 else math.inf,
        EVEN,
        at_most=True,
        note=f"{' and '.join(f'{ns:.0f}' for ns in added)} ns; with the process's start "
        f"{', '.join(f'{each[side]:.0f}' for side in area)} ns a pixel",
        details={f"ns_per_pixel_{side}": ns for side, ns in each.items()},
    )


def upscale_command(source: Path, target: Path, *flags: str) -> list[str]:
    """``implicitkit upscale`` as a process of this Python."""
    return [sys.executable, "-m", "implicitkit", "upscale", str(source), "-o", str(target), *flags]

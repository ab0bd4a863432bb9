"""One row of the table: what was measured, the goal beside it, and what it was measured on."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

LEAST_REPEATS = 5
UNITS = {"x": "×{:.2f}", "%": "{:.0%}", "s": "{:.2f} s", "GB": "{:.2f} GB", "dB": "{:.1f} dB", "ns": "{:.0f} ns"} | {
    "ms": "{:.1f} ms",
    "/s": "{:.1f}/s",
}


@dataclass(frozen=True)
class Row:
    """A measurement.

    Attributes:
        name: of the row in the JSON file.
        what: one line for people.
        unit: a key of :data:`UNITS`: ``x`` a ratio, ``%`` a fraction, ``ns`` nanoseconds per output pixel,
            ``/s`` how many a second.
        value: what came out; None if it could not be measured, and ``note`` says why.
        goal: what it should be at least, or at most if ``at_most``; None if there is no goal.
        equal: whether what was timed gave the right result.
        note: how right, in words.
        details: the medians behind the value, seconds unless named otherwise.
    """

    name: str
    what: str
    unit: str
    value: float | None
    goal: float | None = None
    at_most: bool = False
    equal: bool = True
    note: str = ""
    details: dict[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the goal was reached; None without a goal or a value."""
        if self.value is None or self.goal is None:
            return None
        return self.equal and (self.value <= self.goal if self.at_most else self.value >= self.goal)

    def as_dict(self) -> dict[str, Any]:
        """For the JSON file."""
        return {**asdict(self), "met": self.met}

    def cells(self) -> tuple[str, str, str, str, str]:
        """What, measured, goal, met, note: for a table."""
        fine = self.unit == "ns" and self.value is not None and self.value < 1
        shape = "{:.3f} ns" if fine else UNITS[self.unit]
        shown = "not measured" if self.value is None else shape.format(self.value)
        goal = ""
        if self.goal is not None:
            goal = ("≤ " if self.at_most else "≥ ") + UNITS[self.unit].format(self.goal)
        met = {None: "", True: "yes", False: "no"}[self.met]
        return self.what, shown, goal, met, self.note


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table."""
    lines = ["| what | measured | goal | met | |", "|---|---|---|---|---|"]
    return "\n".join(lines + [f"| {' | '.join(row.cells())} |" for row in rows])


def race(
    contestants: Mapping[str, Callable[[], object]], repeats: int = LEAST_REPEATS, device: torch.device | None = None
) -> dict[str, float]:
    """The median seconds of each contestant, all warmed up first and then taking turns, so that a slow moment of the
    machine hits every one of them.
    """

    def seconds(call: Callable[[], object]) -> float:
        start = time.perf_counter()
        call()
        if device is not None and device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    for call in contestants.values():
        seconds(call)
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, call in contestants.items():
            taken[name].append(seconds(call))
    return {name: statistics.median(each) for name, each in taken.items()}

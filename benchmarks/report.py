"""All rows in one run, with the machine that they are of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import psutil

from benchmarks.gpu import gpu_rows
from benchmarks.processes import cold_row, large_rows
from benchmarks.rows import Row
from benchmarks.speed import Settings, bandwidth, decoder_rows, rate_rows, render_rows, screen_rows, shape_rows
from benchmarks.steps import step_rows
from implicitkit.devices import describe_machine
from implicitkit.kernels import cpu
from implicitkit.kernels.gpu import tf32_allowed
from implicitkit.version import __version__

GROUPS: dict[str, Callable[[Settings], list[Row]]] = {
    "render": render_rows,
    "rate": rate_rows,
    "shape": shape_rows,
    "decoder": decoder_rows,
    "fast": screen_rows,
    "step": step_rows,
    "cold": lambda settings: [cold_row(settings)],
    "large": large_rows,
    "gpu": gpu_rows,
}
LONG = ("large",)  # minutes to an hour: measured only where it is asked for


def measure(
    settings: Settings, groups: Sequence[str], progress: Callable[[int, str], Any] = lambda done, note: None
) -> tuple[list[Row], dict[str, Any]]:
    """The rows of ``groups``, and the report as it is written to a file."""
    busy = psutil.cpu_percent(interval=1.0) / 100
    rows: list[Row] = []
    for done, group in enumerate(groups):
        progress(done, group)
        rows += GROUPS[group](settings)
    progress(len(groups), "")
    machine = describe_machine(settings.device)
    if not settings.on_gpu:
        machine += f"; {cpu.describe()}"
    report = {
        "implicitkit": __version__,
        "machine": machine,
        "device": settings.device.type,
        "busy": round(busy, 2),
        "repeats": settings.repeats,
        "bytes_per_s": bandwidth(settings),
        "rows": [row.as_dict() for row in rows],
    }
    if tf32_allowed():
        report["tf32"] = True
    return rows, report

"""What ``log.jsonl`` says of training, and the figure of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from implicitkit.images.sheets import save_figure

COLOURS = 10  # of the figure; methods behind them are dashed
FAR_APART = 10  # times the shortest training, from which on times are shown by their logarithms

Points = NDArray[np.float64]
"""``(3, n)``: steps, seconds, values."""


@dataclass
class Curve:
    """The loss and the validations of one run.

    Attributes:
        term: the entry of the log that is shown: the loss, or where it has several terms the first, which is what
            methods have in common.
        steps: at which the loss was logged.
        seconds: of training up to there, without validation, checkpoints and the time between two sittings.
        loss: since the entry before.
        validated: steps of the validations.
        psnr: mean PSNR-Y over tasks, dB, at those.
        before: seconds that the run which it starts from took.
        ended: the step at which the run ended early; None: it did not.
    """

    term: str = "loss"
    steps: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    validated: list[int] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)
    before: float = 0.0
    ended: int | None = None

    @property
    def total_seconds(self) -> float:
        """Of the whole training."""
        return self.seconds[-1] if self.seconds else 0.0

    @property
    def losses(self) -> Points:
        """The loss against steps and seconds, those before included."""
        return np.array([self.steps, np.add(self.seconds, self.before), self.loss])

    @property
    def validations(self) -> Points:
        """The PSNR-Y against steps and seconds, those before included."""
        seconds = np.interp(self.validated, [0, *self.steps], [0.0, *self.seconds])
        return np.array([self.validated, seconds + self.before, self.psnr])


def read_curve(folder: Path, batch: int, before: float = 0.0) -> Curve:
    """The curve of the run in ``folder``; empty where nothing is logged yet.

    Seconds are those that the crops between two entries took at the speed that was logged, so that they add up over
    any number of resumptions.
    """
    log = folder / "log.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True) if log.is_file() else []
    entries = [json.loads(line) for line in lines if line.endswith("\n")]  # else it is being written
    logged = [entry for entry in entries if entry["event"] == "train"]
    validated = [entry for entry in entries if entry["event"] == "validation" and "psnr" in entry]
    term = next((key for entry in logged[:1] for key in entry if key.startswith("loss_")), "loss")
    steps = [entry["step"] for entry in logged]
    crops = np.diff([0, *steps]) * batch
    return Curve(
        term,
        steps,
        np.cumsum(crops / [entry["crops_per_s"] for entry in logged]).tolist(),
        [entry[term] for entry in logged],
        [entry["step"] for entry in validated],
        [entry["psnr"] for entry in validated],
        before,
        entries[-1]["step"] if entries and entries[-1]["event"] == "end" else None,
    )


def draw_curves(methods: Mapping[str, Sequence[Curve]], file: Path) -> None:
    """Draw the curves of all methods, a curve per seed: mean line, and band from the lowest to the highest seed."""
    validated = any(curve.validated for curves in methods.values() for curve in curves)
    rows = 1 + validated
    figure = Figure(figsize=(12, 4.2 * rows), layout="constrained")
    panels = figure.subplots(rows, 2, squeeze=False)
    for k, (label, curves) in enumerate(methods.items()):
        style = {"color": f"C{k}", "linestyle": "-" if k < COLOURS else "--"}
        draw_bands(panels[0], [curve.losses for curve in curves], style, label)
        if validated:
            draw_bands(panels[1], [curve.validations for curve in curves], style, label)
    # a loss in negative decibels has no logarithm
    positive = all(loss > 0 for curves in methods.values() for curve in curves for loss in curve.loss)
    for column, unit in zip(panels.T, ("steps", "training time, s (the stage before included)"), strict=True):
        column[0].set(xlabel=unit, ylabel="training loss (its first term)", yscale="log" if positive else "linear")
        if validated:
            column[1].set(xlabel=unit, ylabel="validation PSNR-Y, dB")
    ends = [curve.before + curve.total_seconds for curves in methods.values() for curve in curves if curve.seconds]
    if ends and max(ends) > FAR_APART * min(ends):  # such as runs on a GPU and on a CPU
        for panel in panels[:, 1]:
            panel.set_xscale("log")
    for panel in panels.flat:
        panel.grid(visible=True, which="both", alpha=0.25)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper center", ncols=min(6, len(labels)), frameon=False)
    save_figure(figure, file)


def draw_bands(panels: Sequence[Any], seeds: Sequence[Points], style: Mapping[str, str], label: str) -> None:
    """Mean and band over seeds, as far as all of them go: against steps, and against seconds."""
    count = min(points.shape[1] for points in seeds)
    *axes, values = np.stack([points[:, :count] for points in seeds], axis=1)
    for panel, x in zip(panels, axes, strict=True):
        if count:
            panel.plot(x.mean(0), values.mean(0), label=label, **style, marker="." if count < 12 else None)
            panel.fill_between(x.mean(0), values.min(0), values.max(0), color=style["color"], alpha=0.18, linewidth=0)

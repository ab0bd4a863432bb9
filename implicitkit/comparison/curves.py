"""Loss and validation PSNR against steps and against training time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from implicitkit.files import replacing

COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")


@dataclass
class Curve:
    """What ``log.jsonl`` says of one run.

    Attributes:
        term: the entry of the log that is shown: the loss, or where it has several terms the first, which is what
            methods have in common.
        steps: at which the loss was logged.
        seconds: of training up to there: validation, checkpoints and the time between two sittings are left out.
        loss: since the entry before.
        validated: steps of the validations.
        psnr: mean PSNR-Y over tasks, dB, at those.
    """

    term: str = "loss"
    steps: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    validated: list[int] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)

    @property
    def total_seconds(self) -> float:
        """Of the whole training."""
        return self.seconds[-1] if self.seconds else 0.0

    def seconds_at(self, step: int) -> float:
        """Of training up to ``step``."""
        return float(np.interp(step, [0, *self.steps], [0.0, *self.seconds]))


def read_curve(folder: Path, batch: int) -> Curve:
    """The curve of the run in ``folder``.

    Seconds are those that the crops between two entries took at the speed that was logged, so that they add up over
    any number of resumptions.
    """
    curve = Curve()
    for entry in _entries(folder / "log.jsonl"):
        if entry["event"] == "train":
            if not curve.steps:
                curve.term = next((key for key in entry if key.startswith("loss_")), "loss")
            before, spent = (curve.steps[-1], curve.seconds[-1]) if curve.steps else (0, 0.0)
            curve.steps.append(entry["step"])
            curve.seconds.append(spent + (entry["step"] - before) * batch / entry["crops_per_s"])
            curve.loss.append(entry[curve.term])
        elif entry["event"] == "validation" and "psnr" in entry:
            curve.validated.append(entry["step"])
            curve.psnr.append(entry["psnr"])
    return curve


def draw_curves(methods: Mapping[str, Sequence[tuple[Curve, float]]], file: Path) -> None:
    """Draw the curves of all methods into a PNG: mean line, and band from the lowest to the highest seed.

    Args:
        methods: label -> for each seed its curve and the seconds that the stage before it took.
        file: the PNG to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8.4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2)
    for (_, runs), colour, label in zip(methods.items(), _colours(len(methods)), methods, strict=True):
        for column in range(2):
            timed = column == 1
            _line(panels[0][column], [_points(c, before, timed) for c, before in runs], colour, label)
            _line(panels[1][column], [_scores(c, before, timed) for c, before in runs], colour, label)
    for column, unit in enumerate(("steps", "training time, s (the stage before included)")):
        panels[0][column].set(xlabel=unit, ylabel="training loss (its first term)", yscale="log")
        panels[1][column].set(xlabel=unit, ylabel="validation PSNR-Y, dB")
        for row in range(2):
            panels[row][column].grid(visible=True, which="both", alpha=0.25)
    handles, labels = panels[0][0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper center", ncols=min(6, len(labels)), frameon=False)
    with replacing(file) as temporary:
        canvas.print_png(str(temporary))  # type: ignore[no-untyped-call]


Points = tuple[list[float], list[float]]


def _points(curve: Curve, before: float, timed: bool) -> Points:
    return ([before + s for s in curve.seconds] if timed else [float(s) for s in curve.steps]), curve.loss


def _scores(curve: Curve, before: float, timed: bool) -> Points:
    at = [before + curve.seconds_at(s) if timed else float(s) for s in curve.validated]
    return at, curve.psnr


def _line(panel: Any, runs: Sequence[Points], colour: str, label: str) -> None:
    """Mean and band over seeds, at the places of the first as far as all of them go."""
    count = min((len(x) for x, _ in runs), default=0)
    if not count:
        return
    x = np.mean([x[:count] for x, _ in runs], axis=0)
    y = np.array([y[:count] for _, y in runs])
    panel.plot(x, y.mean(0), color=colour, label=label, linewidth=1.6, marker="." if count < 12 else None)
    if len(runs) > 1:
        panel.fill_between(x, y.min(0), y.max(0), color=colour, alpha=0.18, linewidth=0)


def _colours(count: int) -> list[str]:
    return [COLOURS[k % len(COLOURS)] for k in range(count)]


def _entries(log: Path) -> list[dict[str, Any]]:
    found = []
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue  # the one that is being written
    return found

"""Curves of training, and sheets of pictures that a rule chose."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from implicitkit.evaluation import bicubic, make_pair
from implicitkit.files import replacing
from implicitkit.images.io import Pixels, to_pixels, to_tensor
from implicitkit.metrics import psnr_y
from implicitkit.model import ImplicitModel

PHOTO = Path(str(files("implicitkit"))) / "assets" / "astronaut.png"  # NASA, public domain
DPI = 110
MIN_PANEL, MAX_PANEL = 264, 400  # pixels; what is smaller is enlarged, what is larger shrunk
NAMES = {0.0: "best", 0.5: "median", 1.0: "worst"}
Points = tuple[Sequence[float], Sequence[float]]


@dataclass
class Curve:
    """What ``log.jsonl`` says of one run.

    Attributes:
        term: the entry of the log that is shown: the loss, or where it has several terms the first, which is what
            methods have in common.
        steps: at which the loss was logged.
        seconds: of training up to there, without validation, checkpoints and the time between two sittings.
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
    curve, log = Curve(), folder / "log.jsonl"
    for line in log.read_text(encoding="utf-8").splitlines() if log.is_file() else []:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue  # the line that is being written
        if entry["event"] == "train":
            if not curve.steps:
                curve.term = next((key for key in entry if key.startswith("loss_")), "loss")
            before = curve.steps[-1] if curve.steps else 0
            curve.seconds.append(curve.total_seconds + (entry["step"] - before) * batch / entry["crops_per_s"])
            curve.steps.append(entry["step"])
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
    figure = Figure(figsize=(12, 8.4), layout="constrained")
    panels = figure.subplots(2, 2)
    for k, (label, runs) in enumerate(methods.items()):
        losses = [((c.steps, [before + s for s in c.seconds]), c.loss) for c, before in runs]
        scores = [((c.validated, [before + c.seconds_at(s) for s in c.validated]), c.psnr) for c, before in runs]
        for row, curves in enumerate((losses, scores)):
            for column in range(2):
                draw_band(panels[row][column], [(places[column], y) for places, y in curves], f"C{k % 10}", label)
    for column, unit in enumerate(("steps", "training time, s (the stage before included)")):
        panels[0][column].set(xlabel=unit, ylabel="training loss (its first term)", yscale="log")
        panels[1][column].set(xlabel=unit, ylabel="validation PSNR-Y, dB")
        for row in range(2):
            panels[row][column].grid(visible=True, which="both", alpha=0.25)
    handles, labels = panels[0][0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper center", ncols=min(6, len(labels)), frameon=False)
    save(figure, file)


def draw_band(panel: Any, runs: Sequence[Points], colour: str, label: str) -> None:
    """Mean and band over seeds, as far as all of them go."""
    count = min((len(x) for x, _ in runs), default=0)
    if not count:
        return
    x = np.mean([x[:count] for x, _ in runs], axis=0)
    y = np.array([y[:count] for _, y in runs])
    panel.plot(x, y.mean(0), color=colour, label=label, linewidth=1.6, marker="." if count < 12 else None)
    if len(runs) > 1:
        panel.fill_between(x, y.min(0), y.max(0), color=colour, alpha=0.18, linewidth=0)


def choose(gains: Mapping[str, float], rows: int) -> list[tuple[str, str]]:
    """Pictures spread evenly over the sorted gains, the best first: (what it is, picture).

    >>> choose({"a": 0.1, "b": -0.5, "c": 2.0}, rows=3)
    [('best gain', 'c'), ('median gain', 'a'), ('worst gain', 'b')]
    """
    ranked = sorted(gains, key=lambda picture: (-gains[picture], picture))
    rows = min(rows, len(ranked))
    shares = [k / (rows - 1) for k in range(rows)] if rows > 1 else [0.5] * rows
    # two of an even number are in the middle: alone, the lower one is shown
    places = [round(share * (len(ranked) - 1)) for share in shares] if rows > 1 else [len(ranked) // 2]
    names = [NAMES.get(share, f"{round(100 * (1 - share))} %") for share in shares]
    return [(f"{name} gain", ranked[place]) for name, place in zip(names, places, strict=False)]


def sheet(rows: Sequence[Sequence[tuple[str, Pixels]]], titles: Sequence[str] = (), largest: int = MAX_PANEL) -> Figure:
    """Pictures ``(H, W, 3)`` uint8 beside each other: a row of (label, picture) under each title; ``largest`` is the
    most pixels that a picture is wide on the sheet.
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


def save(figure: Figure, file: Path) -> None:
    """Write a figure as a PNG."""
    with replacing(file) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary))  # type: ignore[no-untyped-call]


def compare_upscaling(
    model: ImplicitModel, clean: Tensor, scale: float, *, name: str = "model"
) -> tuple[Tensor, dict[str, float]]:
    """Shrink ``clean`` ``(3, H, W)`` by ``scale``, enlarge it again, and lay out bicubic, model and truth.

    Returns:
        The labelled sheet ``(3, H', W')`` (whole pictures above, an enlarged detail below) and the PSNR-Y of each
        method, dB.
    """
    pair = make_pair("photo", clean, scale)
    size = (pair.clean.shape[1], pair.clean.shape[2])
    pictures = {"bicubic": bicubic(pair.low, size).clamp(0, 1), name: model.encode(pair.low).render(size).cpu()}
    scores = {method: psnr_y(picture, pair.clean, shave=math.ceil(scale)) for method, picture in pictures.items()}
    whole = [(f"{method}  {scores[method]:.2f} dB", to_pixels(picture)) for method, picture in pictures.items()]
    whole.append(("truth", to_pixels(pair.clean)))
    window = busiest(pair.clean, side=max(8, min(size) // 4))
    title = f"{pair.low.shape[1]} x {pair.low.shape[2]} to {size[0]} x {size[1]} pixels, factor {scale:g}"
    details = [("detail", pixels[window]) for _, pixels in whole]
    canvas = FigureCanvasAgg(sheet([whole, details], [title], largest=size[1]))
    canvas.draw()  # type: ignore[no-untyped-call]
    drawn = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return to_tensor(drawn[..., :3].copy()), scores


def busiest(picture: Tensor, side: int) -> tuple[slice, slice]:
    """The square of ``side`` pixels with the most detail, where methods differ most."""
    grey, step = picture.mean(0), max(1, side // 4)
    energy = torch.zeros_like(grey)
    energy[1:, 1:] = grey.diff(dim=0)[:, 1:].abs() + grey.diff(dim=1)[1:].abs()
    pooled = torch.nn.functional.avg_pool2d(energy[None], side, stride=step)[0]
    y, x = (k * step for k in divmod(int(pooled.argmax()), pooled.shape[1]))
    return slice(y, y + side), slice(x, x + side)

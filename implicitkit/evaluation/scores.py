"""Scores of an evaluation: one number per method, setting, metric and picture."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from implicitkit.create import create_metric
from implicitkit.errors import WeightsError
from implicitkit.metrics import Metric

Metrics = Sequence[str | Mapping[str, Any] | Metric]
"""Names, specs (``{"name": "lpips", "net": "alex"}``) or metrics."""
NUMBER = re.compile(r"\d[\d.]*")
BIN = re.compile(rf"({NUMBER.pattern})-({NUMBER.pattern})")


@dataclass
class Scores:
    """All scores of an evaluation.

    Attributes:
        values: ``values[method][setting][metric][picture]``. A setting is a magnification (``"2"``), a bin of hole
            ratios in percent (``"20-40"``), or text (``"sigma 25"``).
        units: of each metric, ``"dB"`` or nothing.
        records: ``records[setting][picture]``: the random numbers of an example.
        item: the keys of ``values`` to average over: ``"picture"``, or ``"class"``.
        failed: pictures that were left out of all rows, and why.

    >>> scores = Scores()
    >>> for picture, value in (("a", 30.0), ("b", 32.0)):
    ...     scores.add("bicubic", "2", "psnr", picture, value)
    >>> scores.mean("bicubic", "2", "psnr")
    31.0
    """

    values: dict[str, dict[str, dict[str, dict[str, float]]]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    item: str = "picture"
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, method: str, setting: str, metric: str, item: str, value: float) -> None:
        """Add one score; ``nan``, the score of no pixels, is skipped."""
        items = self.values.setdefault(method, {}).setdefault(setting, {}).setdefault(metric, {})
        if not math.isnan(value):
            items[item] = value

    def drop(self, name: str) -> None:
        """Leave a picture out of all rows, so that all means are over the same pictures."""
        for settings in self.values.values():
            for metrics in settings.values():
                for items in metrics.values():
                    items.pop(name, None)
        for records in self.records.values():
            records.pop(name, None)

    def items(self) -> set[str]:
        """The pictures (or classes) that have a score."""
        metrics = (of for settings in self.values.values() for of in settings.values())
        return {name for of in metrics for items in of.values() for name in items}

    def mean(self, method: str, setting: str, metric: str) -> float:
        """A set's score: the mean over its items; ``nan`` over none."""
        items = self.values[method][setting][metric].values()
        return sum(items) / len(items) if items else math.nan

    def table(self, metrics: Sequence[str] | None = None) -> str:
        """Mean scores as a Markdown table; several metrics (default: all) share a cell."""
        return markdown_table(self, metrics)

    def __repr__(self) -> str:
        settings = next(iter(self.values.values()), {})
        return (
            f"Scores({', '.join(self.values)}; {', '.join(map(setting_name, settings))}; {', '.join(self.units)}; "
            f"{len(self.items())} {self.item}s)"
        )

    def _repr_markdown_(self) -> str:
        """What a notebook shows."""
        return self.table()

    def means(self) -> dict[str, dict[str, dict[str, float]]]:
        """``[method][setting][metric]``: the mean over items."""
        return {
            method: {
                setting: {metric: self.mean(method, setting, metric) for metric in metrics}
                for setting, metrics in settings.items()
            }
            for method, settings in self.values.items()
        }


def merged(parts: Sequence[Scores], order: Sequence[str]) -> Scores:
    """The scores of several processes that each scored some of the pictures, as one process gives them.

    Args:
        parts: at least one, with the same methods and settings.
        order: of all pictures, on which the last bits of means depend.

    >>> parts = [Scores({"m": {"2": {"psnr": {"b": 30.0}}}}), Scores({"m": {"2": {"psnr": {"a": 31.0}}}})]
    >>> merged(parts, ["a", "b"]).values
    {'m': {'2': {'psnr': {'a': 31.0, 'b': 30.0}}}}
    """
    whole = Scores(units=dict(parts[0].units), item=parts[0].item)
    failed = {name: why for part in parts for name, why in part.failed.items()}
    places = {name: k for k, name in enumerate(order)}

    def in_order(items: Mapping[str, Any]) -> dict[str, Any]:
        kept = {name: value for name, value in items.items() if name not in failed}
        return dict(sorted(kept.items(), key=lambda item: places.get(item[0], len(places))))

    for part in parts:
        for method, settings in part.values.items():
            for setting, metrics in settings.items():
                for metric, items in metrics.items():
                    target = whole.values.setdefault(method, {}).setdefault(setting, {}).setdefault(metric, {})
                    target.update(items)
        for setting, records in part.records.items():
            whole.records.setdefault(setting, {}).update(records)
    for settings in whole.values.values():
        for metrics in settings.values():
            for metric, items in metrics.items():
                metrics[metric] = in_order(items)
    whole.records = {setting: in_order(records) for setting, records in whole.records.items()}
    whole.failed = dict(sorted(failed.items(), key=lambda item: places.get(item[0], len(places))))
    return whole


def markdown_table(scores: Scores, metrics: Sequence[str] | None = None) -> str:
    """Mean scores per method and setting as a Markdown table; several metrics (default: all) share a cell.

    >>> print(markdown_table(Scores({"bicubic": {"2": {"psnr": {"a": 30.0}}}}, {"psnr": "dB"})))
    | PSNR, dB | ×2 |
    |---|---|
    | bicubic | 30.00 |
    """
    metrics = list(scores.units) if metrics is None else metrics
    settings = list(next(iter(scores.values.values()), {}))
    heads = [" / ".join(metric_name(metric, scores.units[metric]) for metric in metrics), *map(setting_name, settings)]

    def cell(method: str, setting: str) -> str:
        means = {metric: scores.mean(method, setting, metric) for metric in metrics}
        return " / ".join(score_text(mean, scores.units[metric]) for metric, mean in means.items())

    rows = [[method, *(cell(method, setting) for setting in settings)] for method in scores.values]
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, *rows]).replace("\n", f"\n{'|---' * len(heads)}|\n", 1)


def create_metrics(metrics: Metrics) -> list[Metric]:
    """The metrics of names and specs.

    Raises:
        ValueError: there is none, or two have one name.
    """
    created = [metric if isinstance(metric, Metric) else create_metric(metric) for metric in metrics]
    names = [metric.name for metric in created]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"an evaluation takes different metrics, one at least; received {', '.join(names) or 'none'}")
    return created


def create_available(metrics: Metrics) -> tuple[list[Metric], dict[str, str]]:
    """Those of the metrics whose weights can be had; and of the others, name -> why not."""
    created, left_out = [], {}
    for metric in metrics:
        try:
            created += create_metrics([metric])
        except WeightsError as error:
            left_out[str(metric["name"] if isinstance(metric, Mapping) else metric)] = str(error)
    return created, left_out


def metric_name(metric: str, unit: str) -> str:
    """A metric in a table's heading.

    >>> metric_name("psnr_y", "dB")
    'PSNR-Y, dB'
    """
    name = metric.upper().replace("_", "-")
    return f"{name}, {unit}" if unit else name


def setting_name(setting: str) -> str:
    """A setting in a table's heading.

    >>> setting_name("20-40"), setting_name("4"), setting_name("sigma 25")
    ('20–40 %', '×4', 'sigma 25')
    """
    if match := BIN.fullmatch(setting):
        return f"{match[1]}–{match[2]} %"
    return f"×{setting}" if NUMBER.fullmatch(setting) else setting


def score_text(value: float | None, unit: str, sign: str = "") -> str:
    """A score with the digits that tables print, or a dash where there is none; ``sign="+"`` for differences.

    >>> score_text(27.314, "dB"), score_text(0.98765, ""), score_text(None, "dB")
    ('27.31', '0.9877', '–')
    """
    if value is None:
        return "–"
    return f"{value:{sign}.{2 if unit == 'dB' else 4}f}"

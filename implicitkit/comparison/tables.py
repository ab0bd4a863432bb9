"""The report's tables, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from implicitkit.evaluation.scores import BIN, NUMBER


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines) + "\n"


def scores_table(evaluation: Mapping[str, Any], metric: str) -> str:
    """Methods by settings: mean, and standard deviation over seeds."""
    summary, unit = evaluation["summary"], evaluation["units"][metric]
    settings = [s for s, metrics in next(iter(summary.values())).items() if metric in metrics]
    rows = [
        [label, *(cell(methods.get(setting, {}).get(metric), unit) for setting in settings)]
        for label, methods in summary.items()
    ]
    return table([metric_name(metric, unit), *map(setting_name, settings)], rows)


def differences_table(evaluation: Mapping[str, Any], reference: str, metric: str) -> str:
    """Methods by settings: how much better than ``reference``, and the interval."""
    unit = evaluation["units"][metric]
    found = evaluation["differences"][reference]
    settings = list(dict.fromkeys(s for methods in found.values() for s, m in methods.items() if metric in m))
    rows = [
        [label, *(interval(methods.get(setting, {}).get(metric), unit) for setting in settings)]
        for label, methods in found.items()
    ]
    return table([f"{metric_name(metric, unit)}, minus {reference}", *map(setting_name, settings)], rows)


def costs_table(report: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str:
    """What each method costs to hold, to use and to train."""
    rows = []
    for label, cost in evaluation["costs"].items():
        runs = report["methods"][label].get("runs", [])
        steps = f"{runs[0]['steps']:,}" if runs else "–"
        first = runs[0].get("first") if runs else None
        seconds = [run["seconds"] + (run["first"]["seconds"] if run.get("first") else 0) for run in runs]
        rows.append(
            [
                label,
                f"{cost['total']:,}",
                f"{cost['trainable']:,}",
                count(cost["macs"]),
                "–" if cost["seconds"] is None else f"{cost['seconds']:.3g}",
                steps + (f" after {first['steps']:,} of {first['label']}" if first else ""),
                f"{sum(seconds) / len(seconds):.0f}" if seconds else "–",
            ]
        )
    heads = ["method", "parameters", "trained", "MACs/picture", "s/picture", "steps", "training, s"]
    return table(heads, rows)


def cell(found: Mapping[str, Any] | None, unit: str) -> str:
    """``27.31 ± 0.05``."""
    if found is None or found["mean"] is None or math.isnan(found["mean"]):
        return "–"
    digits = 2 if unit == "dB" else 4
    spread = "" if found["spread"] is None else f" ± {found['spread']:.{digits}f}"
    return f"{found['mean']:.{digits}f}{spread}"


def interval(found: Mapping[str, Any] | None, unit: str) -> str:
    """``+0.52 [+0.31, +0.74]``, in bold where zero is not in the interval."""
    if found is None:
        return "–"
    digits = 2 if unit == "dB" else 4
    text = f"{found['mean']:+.{digits}f} [{found['low']:+.{digits}f}, {found['high']:+.{digits}f}]"
    return f"**{text}**" if found["low"] > 0 or found["high"] < 0 else text


def count(number: int | None) -> str:
    """``1.23 G``."""
    if number is None:
        return "–"
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def metric_name(metric: str, unit: str) -> str:
    """``PSNR of the hole, dB``."""
    name = metric.removesuffix("_hole").upper().replace("_", "-")
    return name + (" of the hole" if metric.endswith("_hole") else "") + (f", {unit}" if unit else "")


def setting_name(setting: str) -> str:
    """``20–40 %`` for a bin of hole ratios, ``×4`` for a magnification; others as they are."""
    if match := BIN.fullmatch(setting):
        return f"{match[1]}–{match[2]} %"
    return f"×{setting}" if NUMBER.fullmatch(setting) else setting

"""From the scores of all runs to ``report.json``, and from that to the page and its tables."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from implicitkit.comparison.plan import PlannedRun, flattened
from implicitkit.comparison.scores import PerPicture, Scored
from implicitkit.comparison.statistics import LEVEL, Difference, bootstrap_difference, holm, mean_and_spread
from implicitkit.evaluation.scores import metric_name as plain_name
from implicitkit.evaluation.scores import score_text, setting_name

MAX_CHARACTERS = 60  # of a value in a table
DIGITS = 6  # of a score in report.json
UNITS = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))
Cell = Mapping[str, Any]


def summarise(trivial: Scored, runs: Mapping[str, Mapping[str, Scored]], references: Sequence[str]) -> dict[str, Any]:
    """One evaluation's share of the report: scores per picture, their means, differences to each reference, costs.

    Args:
        trivial: of the methods that need no training.
        runs: method -> seed (or ``"given"``) -> scores.
        references: methods that the others are compared to.
    """
    rows = {row: {"given": scores} for row, scores in trivial.scores.items()}
    for label, seeds in runs.items():
        rows[label] = {seed: next(iter(scored.scores.values())) for seed, scored in seeds.items()}
    costs = dict(trivial.costs)
    for label, seeds in runs.items():
        each = [next(iter(scored.costs.values())) for scored in seeds.values()]
        times = sorted(cost["seconds"] for cost in each if cost["seconds"] is not None)
        costs[label] = {**each[0], "seconds": times[len(times) // 2] if times else None}
    first = next(iter(next(iter(runs.values())).values()))
    return {
        "protocol_settings": first.settings,
        "trivial": next(iter(trivial.scores)),
        "trivial_rows": list(trivial.scores),
        "units": first.units,
        "tables": first.tables,
        "summary": {label: _summary(list(seeds.values())) for label, seeds in rows.items()},
        "differences": {r: differences(rows, r) for r in references if r in rows},
        "costs": costs,
        "scores": finite(rows, DIGITS),
    }


def differences(rows: Mapping[str, Mapping[str, PerPicture]], reference: str) -> dict[str, Any]:
    """Method -> setting -> metric -> method minus reference with its interval; ``p_holm`` is corrected for all tests of
    one metric.
    """
    tests: dict[str, dict[tuple[str, str], Difference]] = {}
    for label, seeds in rows.items():
        for setting, metric in _settings_and_metrics(seeds.values()) if label != reference else ():
            both = [list(rows[row].values()) for row in (label, reference)]
            if not all(metric in run.get(setting, {}) for runs in both for run in runs):
                continue
            ours, theirs = ([run[setting][metric] for run in runs] for runs in both)
            if difference := bootstrap_difference(ours, theirs):
                tests.setdefault(metric, {})[label, setting] = difference
    table: dict[str, Any] = {label: {} for label in rows if label != reference}
    for metric, family in tests.items():
        corrected = holm([difference.p for difference in family.values()])
        for ((label, setting), difference), p in zip(family.items(), corrected, strict=True):
            numbers = {**asdict(difference), "seeds": list(difference.seeds), "p_holm": p, "tests": len(family)}
            table[label].setdefault(setting, {})[metric] = numbers
    return table


def _settings_and_metrics(runs: Any) -> Iterator[tuple[str, str]]:
    for setting, metrics in next(iter(runs)).items():
        yield from ((setting, metric) for metric in metrics)


def _summary(runs: Sequence[PerPicture]) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for setting, metric in _settings_and_metrics(runs):
        pictures = [list(run[setting][metric].values()) for run in runs]
        means = [sum(values) / len(values) if values else math.nan for values in pictures]
        mean, spread = mean_and_spread(means)
        summary.setdefault(setting, {})[metric] = {"mean": mean, "spread": spread, "seeds": means}
    return summary


def equal_and_different(runs: Mapping[str, PlannedRun]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Which entries of the training configurations all methods share, and which they do not: key -> method -> value."""
    dumps = {
        name: run.config.model_dump(mode="json", exclude={"model", "output", "seed"}) for name, run in runs.items()
    }
    flat = {label: dict(flattened(dump)) for label, dump in dumps.items()}
    keys = dict.fromkeys(key for entries in flat.values() for key in entries)
    values = {key: {label: entries.get(key) for label, entries in flat.items()} for key in keys}
    shared = {key: next(iter(of.values())) for key, of in values.items()}
    equal = {key: value for key, value in shared.items() if all(one == value for one in values[key].values())}
    return equal, {key: of for key, of in values.items() if key not in equal}


def finite(value: Any, digits: int | None = None) -> Any:
    """JSON has no infinity and no ``nan``: they become null. Numbers are rounded to ``digits``, if given."""
    if isinstance(value, Mapping):
        return {key: finite(inner, digits) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner, digits) for inner in value]
    if isinstance(value, float):
        return None if not math.isfinite(value) else value if digits is None else round(value, digits)
    return value


# ---------------------------------------------------------------------------- the page


def markdown(report: Mapping[str, Any]) -> str:
    """The page, from what ``report.json`` holds."""
    environment = Environment(
        loader=PackageLoader("implicitkit.comparison", "."),
        undefined=StrictUndefined,
        autoescape=False,  # Markdown, not HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(short=short, quote=shlex.quote, setting_name=setting_name)
    environment.globals.update(
        table=table,
        scores_table=scores_table,
        differences_table=differences_table,
        costs_table=costs_table,
        metric_name=metric_name,
        level=round(100 * LEVEL),
    )
    page = environment.get_template("report.md.j2").render(report)
    lines = [line.rstrip() for line in page.splitlines()]
    blank = [not line and (k == 0 or not lines[k - 1]) for k, line in enumerate(lines)]
    return "\n".join(line for line, twice in zip(lines, blank, strict=True) if not twice).strip() + "\n"


def scores_of(report: Mapping[str, Any]) -> list[str]:
    """The first table of each evaluation, for a terminal."""
    evaluations = report["evaluations"].values()
    return [scores_table(e, metrics[0]) for e in evaluations for metrics in e["tables"].values() if metrics]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines) + "\n"


def scores_table(evaluation: Cell, metric: str) -> str:
    """Methods by settings: mean, and standard deviation over seeds."""
    summary, unit = evaluation["summary"], evaluation["units"][metric]
    settings = [s for s, metrics in next(iter(summary.values())).items() if metric in metrics]
    rows = [[label, *(score(of.get(s, {}).get(metric), unit) for s in settings)] for label, of in summary.items()]
    return table([metric_name(metric, unit), *map(setting_name, settings)], rows)


def differences_table(evaluation: Cell, reference: str, metric: str) -> str:
    """Methods by settings: how much better than ``reference``, and the interval; what it costs, times the reference."""
    unit, of, costs = evaluation["units"][metric], evaluation["differences"][reference], evaluation["costs"]
    settings = list(dict.fromkeys(s for methods in of.values() for s, m in methods.items() if metric in m))
    rows = []
    for label, methods in of.items():
        ratios = [_ratio(costs.get(label), costs.get(reference), key) for key in ("macs", "seconds")]
        rows.append([label, *(interval(methods.get(s, {}).get(metric), unit) for s in settings), *ratios])
    heads = [f"{metric_name(metric, unit)}, minus {reference}", *map(setting_name, settings), "MACs", "time"]
    return table(heads, rows)


def costs_table(report: Cell, evaluation: Cell) -> str:
    """What each method costs to hold, to use and to train."""
    rows = []
    for label, cost in evaluation["costs"].items():
        runs = report["methods"].get(label, {}).get("runs", [])
        first = runs[0].get("first") if runs else None
        after = f" after {first['steps']:,} of {first['label']}" if first else ""
        seconds = [run["seconds"] + (run["first"]["seconds"] if run.get("first") else 0) for run in runs]
        counts = [f"{cost[key]:,}" if key in cost else "–" for key in ("total", "trainable")]
        time = "–" if cost["seconds"] is None else f"{cost['seconds']:.3g}"
        training = [f"{runs[0]['steps']:,}{after}", f"{sum(seconds) / len(seconds):.0f}"] if runs else ["–", "–"]
        rows.append([label, *counts, count(cost["macs"]), time, *training])
    return table(["method", "parameters", "trained", "MACs/picture", "s/picture", "steps", "training, s"], rows)


def score(cell: Cell | None, unit: str) -> str:
    """``27.31 ± 0.05``."""
    if cell is None or cell["mean"] is None or math.isnan(cell["mean"]):
        return "–"
    return score_text(cell["mean"], unit) + ("" if cell["spread"] is None else f" ± {score_text(cell['spread'], unit)}")


def interval(cell: Cell | None, unit: str) -> str:
    """``+0.52 [+0.31, +0.74]``, in bold where chance is excluded at the 5 % level after Holm's correction."""
    if cell is None:
        return "–"
    mean, low, high = (score_text(cell[key], unit, "+") for key in ("mean", "low", "high"))
    excluded = cell["low"] > 0 or cell["high"] < 0  # a report of before the correction has no p_holm
    bold = "**" if excluded and cell.get("p_holm", 0.0) < 1 - LEVEL else ""
    return f"{bold}{mean} [{low}, {high}]{bold}"


def count(number: int | None) -> str:
    """``1.23 G``."""
    if number is None:
        return "–"
    return next((f"{number / size:.3g} {unit}" for unit, size in UNITS if number >= size), str(number))


def metric_name(metric: str, unit: str) -> str:
    """``PSNR of the hole, dB``."""
    where = " of the hole" if metric.endswith("_hole") else ""
    return plain_name(metric.removesuffix("_hole"), "") + where + (f", {unit}" if unit else "")


def short(value: Any) -> str:
    """A value as JSON, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"


def _ratio(cost: Cell | None, reference: Cell | None, key: str) -> str:
    if not cost or not reference or not cost.get(key) or not reference.get(key):
        return "–"
    return f"×{cost[key] / reference[key]:.2g}"

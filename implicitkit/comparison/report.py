"""``report.md``: the tables, the curves and the pictures of a comparison, and how to make them again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from implicitkit.comparison.tables import (
    costs_table,
    differences_table,
    metric_name,
    scores_table,
    setting_name,
    table,
)

LONGEST = 60  # characters of a value in a table


def markdown(report: Mapping[str, Any]) -> str:
    """The page, from what ``report.json`` holds."""
    parts = [f"# {report['title']}", *_opening(report)]
    for label, evaluation in report["evaluations"].items():
        several = len(report["evaluations"]) > 1
        parts += _scores(label if several else "", evaluation)
        parts += _costs(report, evaluation)
        parts += _pictures(evaluation)
    if report["curves"]:
        parts += ["## Training", f"![loss and validation PSNR]({report['curves']})"]
        parts.append("Lines are means over seeds, bands reach from the lowest to the highest seed.")
    parts += _budget(report)
    parts += _again(report)
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def scores_of(report: Mapping[str, Any]) -> list[str]:
    """The first table of each evaluation, for a terminal."""
    found = []
    for evaluation in report["evaluations"].values():
        shown = [metrics[0] for metrics in evaluation["tables"].values() if metrics]
        found += [scores_table(evaluation, metric) for metric in shown]
    return found


def _opening(report: Mapping[str, Any]) -> list[str]:
    lines = [report["notes"]]
    missing = [f"- {name}: {why}" for name, why in report["missing"].items()]
    if missing:
        lines.append("**Not in this report:**\n\n" + "\n".join(missing))
    if report["remarks"]:
        lines.append("\n".join(f"- {remark}" for remark in report["remarks"]))
    return lines


def _scores(label: str, evaluation: Mapping[str, Any]) -> list[str]:
    seeds = {name: len(runs) for name, runs in evaluation["scores"].items() if name != evaluation["trivial"]}
    many = "mean ± standard deviation over seeds" if max(seeds.values()) > 1 else "one seed"
    if len(set(seeds.values())) > 1:
        many += f" ({', '.join(f'{name}: {number}' for name, number in seeds.items())})"
    parts = [
        f"## Scores{f': {label}' if label else ''}",
        f"Protocol `{evaluation['protocol']}` on `{evaluation['data']}`, {evaluation['pictures']} pictures; {many}. "
        f"The first row, {evaluation['trivial']}, needs no training. Of each run the weights that validate best are "
        "scored, or the last where nothing is validated.",
    ]
    for title, metrics in evaluation["tables"].items():
        parts.append(f"### {title[:1].upper()}{title[1:]}" if title else "")
        parts += [scores_table(evaluation, metric) for metric in metrics]
    for reference in evaluation["differences"]:
        parts.append(f"### Against {reference}")
        parts.append(
            "Mean difference over pictures, seeds averaged, and its 95 % interval by paired bootstrap over pictures; "
            "in bold where the interval excludes zero. How much the seeds differ is not in it: see the scores above."
        )
        shown = [metrics[0] for metrics in evaluation["tables"].values() if metrics]
        parts += [differences_table(evaluation, reference, metric) for metric in shown]
    return parts


def _costs(report: Mapping[str, Any], evaluation: Mapping[str, Any]) -> list[str]:
    sizes = {json.dumps([cost["input"], cost["output"]]): cost for cost in evaluation["costs"].values()}
    measured = [cost for cost in sizes.values() if cost["input"]]
    at = "; ".join(f"{_by(cost['input'])} to {_by(cost['output'])} pixels" for cost in measured)
    return [
        "### What it costs",
        costs_table(report, evaluation),
        f"MACs and seconds (median over pictures) are of encoding and rendering{f', {at}' if at else ''}; parameters "
        "that were not trained are frozen. Training seconds leave validation out, and mean something only where the "
        f"machine did nothing else; {_many(report['jobs'], 'run')} at a time, {_many(report['threads'], 'thread')} "
        "each.",
    ]


def _pictures(evaluation: Mapping[str, Any]) -> list[str]:
    grid = evaluation["grid"]
    if grid is None:
        return []
    metric = metric_name(grid["metric"], evaluation["units"][grid["metric"]])
    return [
        "### Pictures",
        f"![{grid['file']}]({grid['file']})",
        f"Chosen by rule: sorted by the gain of {grid['highlight']} over {grid['reference']} in {metric} at "
        f"{setting_name(grid['setting'])}, {', '.join(grid['rows'])}. Gains are means over seeds; each picture is of "
        "the method's first seed, and the number above it is its own.",
    ]


def _budget(report: Mapping[str, Any]) -> list[str]:
    if not report["equal"]:
        return []
    parts = [
        "## Budget",
        "Each method is trained by the same code, on crops drawn from the run's seed. Equal:",
    ]
    parts.append(", ".join(f"`{key}: {_short(value)}`" for key, value in report["equal"].items()))
    different = report["different"]
    parts.append(f"Not equal: the models, and with them parameters and MACs{', and:' if different else '.'}")
    if different:
        labels = list(next(iter(different.values())))
        rows = [[f"`{key}`", *(f"`{_short(v)}`" for v in values.values())] for key, values in different.items()]
        parts.append(table(["", *labels], rows))
    extra = [
        f"{label} is preceded by {runs[0]['first']['steps']:,} steps of {runs[0]['first']['label']}"
        for label, method in report["methods"].items()
        if (runs := method.get("runs")) and runs[0].get("first")
    ]
    made = [f"`{name}` ({note['seconds']:g} s)" for name, note in report["prepared"].items() if "seconds" in note]
    if extra:
        parts.append("Beyond the shared budget: " + "; ".join(extra) + ".")
    if made:
        parts.append("Made beforehand, once for all: " + ", ".join(made) + ".")
    return parts


def _again(report: Mapping[str, Any]) -> list[str]:
    before = "".join(f"{name}={shlex.quote(value)} " for name, value in report["environment"].items())
    repeat = f"{before}implicitkit compare {shlex.quote(report['folder'] + '/report.json')} -o NEW"
    return [
        "## Again",
        f"{report['machine']}; implicitkit {report['implicitkit']}"
        + "".join(f", {name} {version}" for name, version in report["plugins"].items())
        + f". Configuration: `{report['source']}`. This report was written by",
        f"```bash\n{before}{report['command']}\n```",
        "From the report alone, everything, or one run of it, in a new folder (from the same working directory):",
        f"```bash\n{repeat}\n{repeat} --only {shlex.quote(report['example'])}\n```",
        "On the same machine and versions the numbers are the same: the report holds the number of threads, too.",
    ]


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _by(size: Any) -> str:
    return "×".join(str(n) for n in size)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"

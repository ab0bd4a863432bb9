"""From the scores of all runs to ``report.json``, and from that to the page and its tables."""

from __future__ import annotations

import json
import re
import shlex
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from implicitkit.comparison.scores import Scored
from implicitkit.evaluation.costs import count_text
from implicitkit.evaluation.scores import metric_name, score_text, setting_name
from implicitkit.evaluation.statistics import LEVEL, differences, summary
from implicitkit.nested import finite

DIGITS = 6  # of a score in report.json


def summarise(trivial: Scored, runs: Mapping[str, Mapping[str, Scored]], references: Sequence[str]) -> dict[str, Any]:
    """One evaluation's share of the report: scores per picture, their means, differences to each reference, costs.

    Args:
        trivial: of the methods that need no training.
        runs: method -> seed -> scores.
        references: methods that the others are compared to.
    """
    rows = {row: {"given": scores} for row, scores in trivial.scores.items()}
    costs = dict(trivial.costs)
    for label, seeds in runs.items():
        rows[label] = {seed: scored.scores[label] for seed, scored in seeds.items()}
        each = [scored.costs[label] for scored in seeds.values()]
        times = [cost["seconds"] for cost in each if cost["seconds"] is not None]
        costs[label] = {**each[0], "seconds": statistics.median_high(times) if times else None}
    first = next(iter(next(iter(runs.values())).values()))
    return {
        "protocol_settings": first.settings,
        "trivial_rows": list(trivial.scores),
        "units": first.units,
        "tables": first.tables,
        "summary": {label: summary(list(seeds.values())) for label, seeds in rows.items()},
        "differences": {reference: differences(rows, reference) for reference in references if reference in rows},
        "costs": costs,
        "scores": finite(rows, DIGITS),
    }


def markdown(report: Mapping[str, Any]) -> str:
    """The page, from what ``report.json`` holds."""
    page = _template("report.md.j2").render(report)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", page)).strip() + "\n"


def table(name: str, *arguments: Any) -> str:
    """A Markdown table: ``scores`` (evaluation, metric), ``differences`` (evaluation, reference, metric) or ``costs``
    (the report's methods, evaluation), of what ``report.json`` holds.
    """
    macro = getattr(_template("tables.md.j2").module, name)
    return str(macro(*arguments)).strip() + "\n"


def _template(name: str) -> Template:
    environment = Environment(
        loader=PackageLoader("implicitkit.comparison", "."),
        undefined=StrictUndefined,
        autoescape=False,  # Markdown, not HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "quote": shlex.quote,
        "json": partial(json.dumps, ensure_ascii=False),
        "setting": setting_name,
        "count": count_text,
        "score": score_text,
    }
    environment.globals |= {"metric_name": metric_name, "level": LEVEL}
    return environment.get_template(name)

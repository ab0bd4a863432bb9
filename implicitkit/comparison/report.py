"""The page of a report, and its tables, from what ``report.json`` holds."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from functools import partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from implicitkit.evaluation.costs import count_text
from implicitkit.evaluation.scores import metric_name, score_text, setting_name
from implicitkit.evaluation.statistics import LEVEL

ENVIRONMENT = Environment(
    loader=PackageLoader("implicitkit.comparison", "."),
    undefined=StrictUndefined,
    autoescape=False,  # Markdown, not HTML
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.filters |= {"quote": shlex.quote, "json": partial(json.dumps, ensure_ascii=False)}
ENVIRONMENT.filters |= {"setting": setting_name, "count": count_text, "score": score_text}
ENVIRONMENT.globals |= {"metric_name": metric_name, "level": LEVEL}


def markdown(report: Mapping[str, Any]) -> str:
    """The page."""
    page = ENVIRONMENT.get_template("report.md.j2").render(report)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", page)).strip() + "\n"


def table(name: str, *arguments: Any) -> str:
    """A Markdown table: ``scores`` (evaluation, metric), ``differences`` (those, reference) or ``costs`` (methods)."""
    macro = getattr(ENVIRONMENT.get_template("tables.md.j2").module, name)
    return str(macro(*arguments)).strip() + "\n"

"""A comparison as a library: one call, and what it has made."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from implicitkit.comparison.compare import compare as run_comparison
from implicitkit.comparison.report import table
from implicitkit.config import check_command, set_entry, validate
from implicitkit.config.comparison import CompareConfig, load_comparison, with_training_base
from implicitkit.errors import ConfigError, check_known
from implicitkit.registry.configs import find_config


@dataclass(frozen=True)
class Comparison:
    """Methods that were trained on equal terms, and scored.

    Attributes:
        report: what ``report.json`` holds.

    >>> Comparison({"folder": "runs/mine", "methods": ["LIIF", "LTE"], "failed": {}, "evaluations": {}})
    Comparison(runs/mine: LIIF, LTE)
    """

    report: dict[str, Any] = field(repr=False)

    @property
    def folder(self) -> Path:
        """Where it is: runs, ``report.md``, ``report.json``, ``curves.png``, ``grid.png``."""
        return Path(self.report["folder"])

    @property
    def failed(self) -> dict[str, str]:
        """The runs that failed: name -> why."""
        return dict(self.report["failed"])

    @property
    def methods(self) -> list[str]:
        """The labels of what was scored."""
        return list(self.report["methods"])

    def summary(self, evaluation: str | None = None) -> dict[str, Any]:
        """``[row][setting][metric]``: the mean over pictures and seeds, and how sure it is."""
        return dict(self._evaluation(evaluation)["summary"])

    def table(self, metric: str | None = None, evaluation: str | None = None) -> str:
        """Mean scores with their intervals as a Markdown table.

        Args:
            metric: which (default: the first).
            evaluation: the label of one of several.
        """
        of = self._evaluation(evaluation)
        metrics = [name for names in of["tables"].values() for name in names]
        if metric is not None:
            check_known(metric, metrics, "unknown metric")
        return table("scores", of, metric or metrics[0])

    def _evaluation(self, label: str | None) -> dict[str, Any]:
        evaluations = self.report["evaluations"]
        if label is not None:
            check_known(label, evaluations, "unknown evaluation")
        one: dict[str, Any] = evaluations[label or next(iter(evaluations))]
        return one

    def _repr_markdown_(self) -> str:
        """What a notebook shows."""
        return self.table()

    def __repr__(self) -> str:
        failed = f", {len(self.failed)} runs failed" if self.failed else ""
        return f"Comparison({self.folder}: {', '.join(self.methods)}{failed})"


def compare(
    config: CompareConfig | Mapping[str, Any] | str | Path,
    *,
    settings: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
    only: Collection[str] = (),
    train: bool = True,
    device: str = "auto",
    say: Callable[[str], Any] | None = None,
) -> Comparison:
    """Train methods on equal terms, score them and write a report, as ``implicitkit compare`` does; what is there is
    not made again.

    Args:
        config: a YAML file, the name of a shipped one, a mapping of the same entries, or a ``CompareConfig``.
        settings: entries to replace, by dotted path: ``{"base.steps": 100}``.
        output: the comparison's folder, in place of the configured one.
        only: train these methods or runs (``LIIF/seed-1``) alone.
        train: False: score and report what there is.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        say: called with each line on what is done (default: stderr).

    Raises:
        ConfigError: the configuration does not hold, or a run was begun with another.
        UserError: a folder is taken, a preparation failed, or nothing is finished.

    >>> compare({"methods": {"a": {"weights_only": "liif_small"}}, "evaluation": {"data": "x"}, "output": "o"})
    Traceback (most recent call last):
    implicitkit.errors.ConfigError: config: the top level: evaluation.protocol: required, as there is no base whose ...
    """
    where = "config" if isinstance(config, CompareConfig | Mapping) else str(config)
    if isinstance(config, CompareConfig):
        entries = config.model_dump(mode="json")
    elif isinstance(config, Mapping):
        entries = with_training_base(config, Path(), where)
    elif isinstance(config, str | Path):
        file = find_config(config, "compare")
        entries = load_comparison(file)
        check_command(entries, "compare", file)
    else:
        raise ConfigError(f"a comparison is a file, a mapping or a CompareConfig; received {type(config).__name__}")
    for path, value in (settings or {}).items():
        set_entry(entries, path.split("."), value, f"settings: {path}")
    if output is not None:
        entries["output"] = str(output)
    comparison = validate(CompareConfig, entries, where)
    say = say or (lambda line: sys.stderr.write(f"{line}\n"))
    return Comparison(run_comparison(comparison, only=only, train=train, device=device, say=say, source=where))

"""From the scores of all runs to means, spreads and differences: everything ``report.json`` holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from implicitkit.comparison.plan import PlannedRun, flattened
from implicitkit.comparison.scoring import PerPicture, Scored
from implicitkit.comparison.statistics import mean_and_spread, over_seeds, paired_bootstrap

Runs = Mapping[str, Mapping[str, Scored]]
"""Method -> seed (or "given") -> scores."""
DIGITS = 6


def summarise(runs: Runs, references: Sequence[str]) -> dict[str, Any]:
    """One evaluation's share of the report: scores per picture, their means, differences to each reference, costs."""
    first = next(iter(next(iter(runs.values())).values()))
    name, trivial = first.trivial
    by_method: dict[str, dict[str, PerPicture]] = {name: {"given": trivial}}
    by_method |= {label: {seed: scored.scores for seed, scored in seeds.items()} for label, seeds in runs.items()}
    return {
        "protocol_settings": first.settings,
        "trivial": name,
        "units": first.units,
        "tables": first.tables,
        "summary": {
            label: {
                setting: {metric: _summary(seeds.values(), setting, metric) for metric in metrics}
                for setting, metrics in next(iter(seeds.values())).items()
            }
            for label, seeds in by_method.items()
        },
        "differences": {
            reference: {
                label: differences(list(by_method[label].values()), list(by_method[reference].values()))
                for label in by_method
                if label != reference
            }
            for reference in references
            if reference in by_method
        },
        "costs": {label: _costs(list(seeds.values())) for label, seeds in runs.items()},
        "scores": _rounded(by_method),
    }


def differences(method: Sequence[PerPicture], reference: Sequence[PerPicture]) -> dict[str, dict[str, Any]]:
    """Setting -> metric -> method minus reference over pictures, seeds averaged, with its 95 % interval."""
    found: dict[str, dict[str, Any]] = {}
    for setting, metrics in method[0].items():
        for metric in metrics:
            if any(metric not in run.get(setting, {}) for run in [*method, *reference]):
                continue
            gains = gains_of(method, reference, setting, metric)
            if gains:
                found.setdefault(setting, {})[metric] = asdict(paired_bootstrap(list(gains.values())))
    return found


def gains_of(
    method: Sequence[PerPicture], reference: Sequence[PerPicture], setting: str, metric: str
) -> dict[str, float]:
    """Picture -> method minus reference, both averaged over their seeds."""
    ours, theirs = (over_seeds([run[setting][metric] for run in runs]) for runs in (method, reference))
    return {picture: ours[picture] - theirs[picture] for picture in ours if picture in theirs}


def equal_and_different(runs: Mapping[str, PlannedRun]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Which entries of the training configurations all methods share, and which they do not: key -> method -> value."""
    flat = {
        label: dict(flattened(run.config.model_dump(mode="json", exclude={"model", "output", "seed"})))
        for label, run in runs.items()
    }
    equal: dict[str, Any] = {}
    different: dict[str, dict[str, Any]] = {}
    for key in dict.fromkeys(key for entries in flat.values() for key in entries):
        values = {label: entries.get(key) for label, entries in flat.items()}
        one = next(iter(values.values()))
        if all(value == one for value in values.values()):
            equal[key] = one
        else:
            different[key] = values
    return equal, different


def finite(value: Any) -> Any:
    """JSON has no infinity and no ``nan``: they become null."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _summary(runs: Any, setting: str, metric: str) -> dict[str, Any]:
    means = []
    for run in runs:
        values = list(run[setting][metric].values())
        means.append(sum(values) / len(values) if values else math.nan)
    mean, spread = mean_and_spread(means)
    return {"mean": mean, "spread": spread, "seeds": means}


def _costs(scored: Sequence[Scored]) -> dict[str, Any]:
    seconds = sorted(s.costs["seconds"] for s in scored if s.costs["seconds"] is not None)
    return {**scored[0].costs, "seconds": seconds[len(seconds) // 2] if seconds else None}


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    return round(value, DIGITS) if isinstance(value, float) and math.isfinite(value) else value

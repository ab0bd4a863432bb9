"""Whether the methods of a comparison are on equal terms, by their first runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from implicitkit.comparison.plan import PlannedRun, Source
from implicitkit.config import ModelSpec, validate
from implicitkit.config.terms import Terms, compare_specs
from implicitkit.create import load_model
from implicitkit.errors import UserError

OWN_ENTRIES = {"model", "output", "seed"}  # of a training configuration: what is not part of the budget


def compare_terms(rows: Mapping[str, Sequence[Source]]) -> Terms:
    """What differs between the methods of a comparison, by their first runs.

    Args:
        rows: method -> what is scored; given weights that cannot be read yet are left out.
    """
    specs = {label: spec for label, row in rows.items() if row and (spec := _spec(row[0])) is not None}
    firsts = {label: row[0] for label, row in rows.items() if row}
    return compare_specs(specs, {k: _budget(run) for k, run in firsts.items() if isinstance(run, PlannedRun)})


def _budget(run: PlannedRun) -> dict[str, Any]:
    budget = run.config.model_dump(mode="json", exclude=OWN_ENTRIES)
    return budget if run.after is None else {**budget, "steps before": run.after.config.steps}


def _spec(source: Source) -> ModelSpec | None:
    if isinstance(source, PlannedRun):
        return source.config.model
    if source.run is not None:
        return source.run.config.model
    try:
        model = load_model(str(source.weights))
        return validate(ModelSpec, {**model.spec, "passes": source.passes or model.passes}, source.name)
    except UserError:  # said when it is scored
        return None

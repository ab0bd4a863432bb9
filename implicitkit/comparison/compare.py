"""Models side by side, from a configuration to a report.

    implicitkit compare configs/compare/quick_liif_lte.yaml

The comparison's folder holds ``runs/METHOD/seed-N/`` (each a run directory as ``implicitkit train`` makes it, with its
scores beside its weights), ``curves.png``, ``grid.png``, ``report.md`` and ``report.json``. What is there is not made
again, so a comparison that was stopped or killed goes on where it was.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from typing import Any

from implicitkit.comparison.plan import GivenWeights, Plan, PlannedRun, make_plan
from implicitkit.comparison.report import markdown
from implicitkit.comparison.run import Runner, read_notes, threads_of
from implicitkit.comparison.scores import Progress, Scorer
from implicitkit.comparison.terms import OWN_ENTRIES, compare_terms
from implicitkit.config.comparison import CompareConfig
from implicitkit.devices import choose_device, cpu_threads, describe_machine
from implicitkit.errors import UserError
from implicitkit.evaluation.grid import draw_grid
from implicitkit.evaluation.scores import Scores
from implicitkit.evaluation.statistics import differences, summary
from implicitkit.files import write_json, write_text
from implicitkit.nested import equal_and_different, finite
from implicitkit.registry.kinds import plugins
from implicitkit.registry.origins import check_processes_have
from implicitkit.registry.plugins import VARIABLE
from implicitkit.training.curves import draw_curves
from implicitkit.training.resume import begin_run
from implicitkit.version import __version__

DIGITS = 6  # of a score in report.json


def compare(
    config: CompareConfig,
    *,
    only: Collection[str] = (),
    train: bool = True,
    device: str = "auto",
    say: Callable[[str], Any] = lambda line: None,
    progress: Progress | None = None,
    source: str = "a CompareConfig",
    command: str = "implicitkit.comparison.compare.compare(config)",
) -> dict[str, Any]:
    """Train what is not trained yet, score it and write the report.

    Args:
        config: the comparison.
        only: train these methods or runs (``sair/seed-1``) alone; the report is of all that are finished.
        train: False: score and report what there is.
        device: where to train and score, see :func:`~implicitkit.devices.choose_device`.
        say: called with a line of text.
        progress: given a title and a number of steps, a context whose value is told of each step of an evaluation.
        source: where the configuration is from, for the report.
        command: how to call it again, for the report.

    Returns:
        What ``report.json`` holds; ``failed`` says which runs failed: name -> why.

    Raises:
        ConfigError: the configuration does not hold, or a run was begun with another.
        UserError: a folder is taken, a preparation failed, or nothing is finished.
    """
    plan = make_plan(config, source)
    runs, where = plan.ordered(only), choose_device(device)
    threads = config.threads or max(1, _cores() // config.jobs)
    runner = Runner(config.jobs, threads, say, {"ACCELERATE_USE_CPU": "true"} if where.type == "cpu" else {})
    if train:
        check_processes_have(run.config.model_dump(mode="json") for run in runs)
        for run in runs:
            begin_run(run.config)
        runner.prepare(plan.config.prepare, config.output)
    if line := compare_terms(plan.rows).line():
        say(line)
    scorers = [  # made before the training: a test set that cannot be used is found now, not hours later
        Scorer(label, test, config.base.get("degradation", []), where, progress)
        for label, test in plan.config.evaluation.items()
    ]
    failed = runner.train(runs) if train else {}
    terms = compare_terms(plan.finished)
    if not plan.finished:
        raise UserError(f"nothing to report: no run in {config.output / 'runs'} is finished")
    with cpu_threads(threads * config.jobs):
        machine = describe_machine(where)
        evaluations = {scorer.label: evaluate(plan, scorer) for scorer in scorers}
    notes = read_notes(config.output)
    missing = {source.name: source.missing for row in plan.rows.values() for source in row if not source.finished}
    report: dict[str, Any] = {
        "title": config.title or config.output.name,
        "notes": plan.config.notes,
        "config": {**config.model_dump(mode="json"), "threads": threads},
        "evaluations": evaluations,
        **describe_runs(plan),
        "terms": terms.line(),
        "compared": terms.compared,
        "unequal": {**terms.unequal, **unequal_costs(plan.finished, evaluations)},
        "prepared": {step.makes: notes.get(step.makes, {"how": "was there"}) for step in plan.config.prepare},
        "failed": failed,
        "missing": {**missing, **{name: f"failed: {why}" for name, why in failed.items()}},
        "remarks": [remark for scorer in scorers for remark in scorer.remarks],
        "folder": str(config.output),
        "source": source,
        "command": command,
        "machine": machine,
        "implicitkit": __version__,
        "plugins": plugins.versions(),
        "environment": {VARIABLE: os.environ[VARIABLE]} if os.environ.get(VARIABLE) else {},
    }
    report = finite(report)  # what a page shows is what JSON can hold
    write_json(config.output / "report.json", report)
    write_text(config.output / "report.md", markdown(report))
    return report


def _cores() -> int:
    """How many threads runs may share: ``OMP_NUM_THREADS``, of a list its first number, or the cores."""
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(given) if given.isdecimal() and int(given) else os.cpu_count() or 1


def evaluate(plan: Plan, scorer: Scorer) -> dict[str, Any]:
    """What the report says of one evaluation: scores per picture, their means, differences to each reference, costs."""
    output, references = plan.config.output, plan.config.reference
    trivial = scorer("what needs no training", GivenWeights("", None, output))
    rows = {row: {"given": scores} for row, scores in trivial.scores.items()}
    costs, files = dict(trivial.costs), {row: scorer.pictures(output) for row in rows}
    left_out = dict(trivial.failed)
    for label, sources in plan.finished.items():
        scored = {str(source.seed): scorer(label, source, keep=source is sources[0]) for source in sources}
        rows[label] = {seed: one.scores[label] for seed, one in scored.items()}
        for one in scored.values():
            left_out |= one.failed
        each = [one.costs[label] for one in scored.values()]
        times = [cost["seconds"] for cost in each if cost["seconds"] is not None]
        costs[label] = {**each[0], "seconds": statistics.median_high(times) if times else None}
        files[label] = scorer.pictures(sources[0].folder)
    for name in left_out:  # of all rows, so that all means are over the same pictures
        for seeds in rows.values():
            for scores in seeds.values():
                Scores({"": scores}).drop(name)
    scorer.remarks += [f"{scorer.label}: left out {name}: {why}" for name, why in left_out.items()]
    evaluation = {
        "protocol": scorer.spec["name"],
        "spec": scorer.spec,
        "protocol_settings": trivial.settings,
        "data": str(scorer.data),
        "examples": scorer.count,
        "trivial_rows": list(trivial.scores),
        "units": trivial.units,
        "tables": trivial.tables,
        "summary": {label: summary(list(seeds.values())) for label, seeds in rows.items()},
        "differences": {reference: differences(rows, reference) for reference in references if reference in rows},
        "costs": costs,
        "scores": finite(rows, DIGITS),
    }
    grid = output / (f"grid-{scorer.label}.png" if len(plan.config.evaluation) > 1 else "grid.png")
    return evaluation | {"grid": draw_grid(plan.config, evaluation, files, scorer.lower_is_better, grid)}


def describe_runs(plan: Plan) -> dict[str, Any]:
    """What the report says of the methods and their training: runs, curves, and what is equal among them."""
    methods: dict[str, Any] = {}
    trained: dict[str, list[PlannedRun]] = {}
    for label, row in plan.finished.items():
        if runs := [source for source in row if isinstance(source, PlannedRun)]:
            trained[label] = runs
            methods[label] = {"runs": [_describe(run) for run in runs]}
        else:
            methods[label] = {"weights": str(row[0].weights), **({"passes": row[0].passes} if row[0].passes else {})}
    if trained:
        curves = {label: [run.curve for run in runs] for label, runs in trained.items()}
        draw_curves(curves, plan.config.output / "curves.png")
    budgets = {label: runs[0].config.model_dump(mode="json", exclude=OWN_ENTRIES) for label, runs in trained.items()}
    equal, different = equal_and_different(budgets)
    return {
        "methods": methods,
        "curves": "curves.png" if trained else None,
        "equal": equal,
        "different": different,
        "example": next((runs[0].name for runs in trained.values()), next(iter(methods))),
    }


def unequal_costs(labels: Collection[str], evaluations: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters and MACs of the methods, where they differ."""
    costs = next(iter(evaluations.values()))["costs"]
    unequal = {}
    for title, key in (("parameters", "total"), ("MACs per picture", "macs")):
        values = {label: costs[label][key] for label in labels}
        if len(set(values.values())) > 1:
            unequal[title] = {"values": values, "by_default": []}
    return unequal


def _describe(run: PlannedRun) -> dict[str, Any]:
    """What the report says of one run, with the whole configuration that it was trained with."""
    curve = run.curve
    return {
        "label": run.label,
        "seed": run.seed,
        "steps": run.config.steps if curve.ended is None else curve.ended,
        "seconds": round(curve.total_seconds, 1),
        "threads": threads_of(run),
        "weights": str(run.weights),
        "curve": asdict(curve),
        "config": run.config.model_dump(mode="json"),
        "first": None if run.after is None else _describe(run.after),
    }

"""Models side by side, from a configuration to a report.

    implicitkit compare configs/compare/quick_liif_lte.yaml

The comparison's folder holds ``runs/METHOD/seed-N/`` (each a run directory as ``implicitkit train`` makes it, with its
scores beside its weights), ``curves.png``, ``grid.png``, ``report.md`` and ``report.json``. What is there is not made
again, so a comparison that was stopped or killed goes on where it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import asdict
from typing import Any

from implicitkit.comparison.config import CompareConfig
from implicitkit.comparison.grid import draw_grid
from implicitkit.comparison.plan import GivenWeights, Plan, PlannedRun, make_plan
from implicitkit.comparison.report import markdown, summarise
from implicitkit.comparison.run import Runner, how_made, threads_of
from implicitkit.comparison.scores import Progress, Scored, Scorer
from implicitkit.devices import choose_device, cpu_threads, describe_machine
from implicitkit.errors import UserError
from implicitkit.files import write_json, write_text
from implicitkit.nested import equal_and_different, finite
from implicitkit.registry.kinds import plugins
from implicitkit.registry.plugins import VARIABLE
from implicitkit.training.curves import draw_curves
from implicitkit.training.runs import begin_run
from implicitkit.version import __version__


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
    threads = config.threads or max(1, (os.cpu_count() or 1) // config.jobs)
    runner = Runner(config.jobs, threads, say, {"ACCELERATE_USE_CPU": "true"} if where.type == "cpu" else {})
    if train:
        for run in runs:
            begin_run(run.config)
        runner.prepare(plan.config.prepare, config.output)
    trained_on = config.base.get("degradation", [])
    scorers = [  # made before the training: a test set that cannot be used is found now, not hours later
        Scorer(label, test, trained_on, where, progress) for label, test in plan.config.evaluation.items()
    ]
    failed = runner.train(runs) if train else {}
    if not plan.finished:
        raise UserError(f"nothing to report: no run in {config.output / 'runs'} is finished")
    with cpu_threads(threads * config.jobs):
        evaluations = {scorer.label: evaluate(plan, scorer, len(scorers) > 1) for scorer in scorers}
        machine = describe_machine(where)
    report = {
        "title": config.title or config.output.name,
        "notes": plan.config.notes,
        "config": {**config.model_dump(mode="json"), "threads": threads},
        "evaluations": evaluations,
        **describe_runs(plan),
        "prepared": how_made(plan.config.prepare, config.output),
        "failed": failed,
        "missing": {**plan.missing, **{name: f"failed: {why}" for name, why in failed.items()}},
        "remarks": [remark for scorer in scorers for remark in scorer.remarks],
        "folder": str(config.output),
        "source": source,
        "command": command,
        "machine": machine,
        "implicitkit": __version__,
        "plugins": plugins.versions(),
        "environment": {VARIABLE: os.environ[VARIABLE]} if os.environ.get(VARIABLE) else {},
    }
    write_json(config.output / "report.json", finite(report))
    write_text(config.output / "report.md", markdown(report))
    return report


def evaluate(plan: Plan, scorer: Scorer, several: bool) -> dict[str, Any]:
    """What the report says of one evaluation; ``several`` says whether there are others."""
    output = plan.config.output
    trivial = scorer("what needs no training", GivenWeights("", None, output))
    scored: dict[str, dict[str, Scored]] = {}
    files = {row: scorer.pictures(output) for row in trivial.scores}
    for label, sources in plan.finished.items():
        scored[label] = {str(source.seed): scorer(label, source, keep=source is sources[0]) for source in sources}
        files[label] = scorer.pictures(sources[0].folder)
    evaluation = summarise(trivial, scored, plan.config.reference)
    evaluation |= {"protocol": scorer.spec["name"], "spec": scorer.spec, "data": str(scorer.data)}
    evaluation["examples"] = scorer.count
    grid = output / (f"grid-{scorer.label}.png" if several else "grid.png")
    evaluation["grid"] = draw_grid(plan.config, evaluation, files, scorer.lower_is_better, grid)
    return evaluation


def describe_runs(plan: Plan) -> dict[str, Any]:
    """What the report says of the methods and their training: runs, curves, and what is equal among them."""
    methods: dict[str, Any] = {}
    trained: dict[str, list[PlannedRun]] = {}
    for label, row in plan.finished.items():
        for source in row:
            if isinstance(source, PlannedRun):
                trained.setdefault(label, []).append(source)
                methods.setdefault(label, {"runs": []})["runs"].append(_describe(source))
            else:
                passes = {"passes": source.passes} if source.passes else {}
                methods[label] = {"weights": str(source.weights), **passes}
    budgets = {
        label: runs[0].config.model_dump(mode="json", exclude={"model", "output", "seed"})
        for label, runs in trained.items()
    }
    equal, different = equal_and_different(budgets)
    if trained:
        draw_curves(
            {label: [run.curve for run in runs] for label, runs in trained.items()}, plan.config.output / "curves.png"
        )
    return {
        "methods": methods,
        "curves": "curves.png" if trained else None,
        "equal": equal,
        "different": different,
        "example": next((runs[0].name for runs in trained.values()), next(iter(methods))),
    }


def _describe(run: PlannedRun) -> dict[str, Any]:
    """What the report says of one run, with the whole configuration that it was trained with."""
    curve = run.curve
    return {
        "label": run.label,
        "seed": run.seed,
        "steps": run.config.steps,
        "seconds": round(curve.total_seconds, 1),
        "threads": threads_of(run),
        "weights": str(run.weights),
        "curve": asdict(curve),
        "config": run.config.model_dump(mode="json"),
        "first": None if run.after is None else _describe(run.after),
    }

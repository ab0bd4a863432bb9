"""Models side by side, from a configuration to a report.

    implicitkit compare configs/compare/quick_liif_lte.yaml

The comparison's folder holds ``runs/METHOD/seed-N/`` (each a run directory as ``implicitkit train`` makes it, with its
scores beside its weights), ``curves.png``, ``grid.png``, ``report.md`` and ``report.json``. What is there is not made
again, so a comparison that was stopped or killed goes on where it was.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from implicitkit.comparison.config import CompareConfig
from implicitkit.comparison.figures import choose, draw_curves, read_curve, save, sheet
from implicitkit.comparison.plan import Plan, PlannedRun, check_only, make_plan, write_config
from implicitkit.comparison.report import equal_and_different, finite, markdown, score, summarise
from implicitkit.comparison.run import Say, how_made, prepare_all, threads_of, train_all
from implicitkit.comparison.scores import MODEL, Progress, Scored, Scorer, read_pictures
from implicitkit.comparison.statistics import gains_of
from implicitkit.devices import choose_device, describe_machine
from implicitkit.errors import UserError
from implicitkit.files import write_json, write_text
from implicitkit.registry.kinds import plugins
from implicitkit.registry.plugins import VARIABLE
from implicitkit.version import __version__


@dataclass
class Compared:
    """What a comparison left behind.

    Attributes:
        folder: where the report is.
        report: what ``report.json`` holds.
        failed: runs that failed: name -> why.
    """

    folder: Path
    report: dict[str, Any]
    failed: dict[str, str] = field(default_factory=dict)


def compare(
    config: CompareConfig,
    *,
    output: Path | None = None,
    only: Collection[str] = (),
    train: bool = True,
    device: str = "auto",
    say: Say = lambda line: None,
    progress: Progress | None = None,
    source: str = "a CompareConfig",
    command: str = "implicitkit.comparison.compare.compare(config)",
) -> Compared:
    """Train what is not trained yet, score it and write the report.

    Args:
        config: the comparison.
        output: its folder, in place of ``config.output``.
        only: train these methods or runs (``sair/seed-1``) alone; the report is of all that are finished.
        train: False: score and report what there is.
        device: where to train and score, see :func:`~implicitkit.devices.choose_device`.
        say: called with a line of text.
        progress: given a title and a number of steps, a context whose value is told of each step of an evaluation.
        source: where the configuration is from, for the report.
        command: how to call it again, for the report.

    Raises:
        ConfigError: the configuration does not hold, or a run was begun with another.
        UserError: a folder is taken, a preparation failed, or nothing is finished.
    """
    plan = make_plan(config, output, source)
    check_only(plan, only)
    where = choose_device(device)
    jobs = config.jobs
    threads = config.threads or max(1, (os.cpu_count() or 1) // jobs)
    failed: dict[str, str] = {}
    environment = {"ACCELERATE_USE_CPU": "true"} if where.type == "cpu" else {}
    runs = plan.ordered(only) if train else []
    for run in runs:
        write_config(run)
    if train:
        prepare_all(plan.prepare, plan.output, threads=threads * jobs, say=say, environment=environment)
    trained_on = config.base.get("degradation", [])
    scorers = [
        Scorer(label, test.spec(trained_on), test.data, test.metrics, where) for label, test in plan.evaluation.items()
    ]
    for scorer in scorers:  # find a test set that cannot be used before hours of training
        scorer.protocol.count(scorer.data)
    failed = train_all(runs, jobs=jobs, threads=threads, say=say, environment=environment)
    with _threads(threads * jobs):
        report = _measure(plan, scorers, progress)
        machine = describe_machine(where)
    resolved = {**config.model_dump(mode="json"), "jobs": jobs, "threads": threads, "output": str(plan.output)}
    report |= {
        "config": resolved,
        "title": config.title or plan.output.name,
        "notes": config.notes,
        "jobs": jobs,
        "threads": threads,
        "folder": str(plan.output),
        "source": source,
        "command": command,
        "machine": machine,
        "implicitkit": __version__,
        "plugins": _plugins(),
        "environment": {VARIABLE: os.environ[VARIABLE]} if os.environ.get(VARIABLE) else {},
    }
    report["missing"] |= {name: f"failed: {why}" for name, why in failed.items()}
    write_json(plan.output / "report.json", finite(report))
    write_text(plan.output / "report.md", markdown(report))
    return Compared(plan.output, report, failed)


def _measure(plan: Plan, scorers: Sequence[Scorer], progress: Progress | None) -> dict[str, Any]:
    """Everything that is measured: the methods, their curves and the evaluations."""
    done = {label: [run for run in runs if run.finished] for label, runs in plan.runs.items()}
    waiting = {label: run.name for label, run in plan.borrowed.items() if not run.finished}
    labels = [label for label in plan.labels if label not in waiting and (label in plan.files or done[label])]
    if not labels:
        raise UserError(f"nothing to report: no run in {plan.output / 'runs'} is finished")
    evaluations = {}
    for scorer in scorers:

        def ask(title: str, *where: Any, keep: bool = True, scorer: Scorer = scorer) -> Scored:
            with progress(title, scorer.protocol.count(scorer.data)) if progress else nullcontext() as tell:
                return scorer(*where, keep=keep, progress=tell)

        trivial = ask("scoring what needs no training", None, plan.output)
        scored: dict[str, dict[str, Scored]] = {label: {} for label in labels}
        files = {row: plan.output / str(trivial.pictures) for row in trivial.scores}
        for label in labels:
            for k, (seed, source, folder) in enumerate(_sources(plan, label, done)):
                title = f"scoring {label}{'' if seed == 'given' else f' seed {seed}'}"
                scored[label][seed] = ask(title, source, folder, keep=k == 0)
                files.setdefault(label, folder / str(scored[label][seed].pictures))
        summary = summarise(trivial, scored, plan.config.reference)
        settings = [s for seeds in summary["scores"].values() for run in seeds.values() for s in run.values()]
        grid = plan.output / ("grid.png" if len(scorers) == 1 else f"grid-{scorer.label}.png")
        evaluations[scorer.label] = summary | {
            "protocol": scorer.spec["name"],
            "spec": scorer.spec,
            "data": str(scorer.data),
            "pictures": max(len(pictures) for metrics in settings for pictures in metrics.values()),
            "grid": _grid(plan.config, summary, files, scorer.lower_is_better, grid),
        }
    trained = {label: runs[0] for label, runs in done.items() if runs}
    equal, different = equal_and_different(trained)
    return {
        "methods": {label: _method(plan, label, done) for label in labels},
        "evaluations": evaluations,
        "curves": _curves(done, plan.output / "curves.png"),
        "equal": equal,
        "different": different,
        "prepared": how_made(plan.prepare, plan.output),
        "missing": {r.name: "not trained yet" for runs in plan.runs.values() for r in runs if not r.finished}
        | {label: f"takes the weights of {name}, which is not trained yet" for label, name in waiting.items()},
        "remarks": [note for scorer in scorers for note in scorer.notes],
        "example": next(iter(trained.values())).name if trained else labels[0],
    }


Done = Mapping[str, Sequence[PlannedRun]]


def _sources(plan: Plan, label: str, done: Done) -> list[tuple[str, Path | str, Path]]:
    """(seed, weights, where scores are kept) of each finished run of a method."""
    if label in plan.files:
        folder = plan.output / "runs" / label
        folder.mkdir(parents=True, exist_ok=True)
        passes = plan.config.methods[label].passes
        weights = plan.files[label] if passes is None else _other_passes(plan.files[label], passes, folder)
        return [("given", weights, folder)]
    return [(str(run.seed), run.weights, run.folder) for run in done[label]]


def _other_passes(source: str, passes: int, folder: Path) -> Path:
    """A copy in ``folder`` of the model ``source``, for another number of passes; one that is there already is kept, as
    its scores are known by its bytes.
    """
    from implicitkit.create import load_model
    from implicitkit.weights.native import fingerprint

    model, copy = load_model(source), folder / "model.safetensors"
    model.passes = passes
    if copy.is_file():
        there = load_model(copy)
        if there.spec == model.spec and fingerprint(there) == fingerprint(model):
            return copy
    return model.save(copy)


def _method(plan: Plan, label: str, done: Done) -> dict[str, Any]:
    """What the report says of a method's runs; each holds the whole configuration that it was trained with."""
    if label in plan.files:
        method = plan.config.methods[label]
        return {"weights": plan.files[label], **({} if method.passes is None else {"passes": method.passes})}
    return {"runs": [_run(run) for run in done[label]]}


def _run(run: PlannedRun) -> dict[str, Any]:
    curve = read_curve(run.folder, run.config.batch)
    return {
        "label": run.label,
        "seed": run.seed,
        "steps": run.config.steps,
        "seconds": round(curve.total_seconds, 1),
        "threads": threads_of(run),
        "weights": str(run.weights),
        "curve": asdict(curve),
        "config": run.config.model_dump(mode="json"),
        "first": None if run.after is None else _run(run.after),
    }


def _curves(done: Done, file: Path) -> str | None:
    """Draw them; the file's name, or None where nothing was trained here."""
    curves = {
        label: [(read_curve(run.folder, run.config.batch), _seconds(run.after)) for run in runs]
        for label, runs in done.items()
        if runs
    }
    if not curves:
        return None
    draw_curves(curves, file)
    return file.name


def _seconds(run: PlannedRun | None) -> float:
    return 0.0 if run is None else read_curve(run.folder, run.config.batch).total_seconds


def _grid(
    config: CompareConfig, summary: Mapping[str, Any], files: Mapping[str, Path], lower: Collection[str], file: Path
) -> dict[str, Any] | None:
    """Choose pictures and draw them, with the best method that needs no training; what was chosen, or None where no
    pictures were kept.
    """
    wanted, units, trivial = config.pictures, summary["units"], summary["trivial_rows"]
    labels = [label for label in files if label not in trivial]
    reference = next((label for label in config.reference if label in labels), None)
    others = [label for label in labels if label != reference]
    highlight = wanted.highlight if wanted.highlight in labels else (others or labels)[-1]
    settings = list(summary["summary"][highlight])
    setting = _one_of("pictures.setting", wanted.setting, settings, settings[-1])
    metric = _one_of(
        "pictures.metric", wanted.metric, list(units), "psnr_hole" if "psnr_hole" in units else next(iter(units))
    )
    before = trivial[0] if reference in (None, highlight) else reference
    runs = {row: [run[setting][metric] for run in summary["scores"][row].values()] for row in files}
    gains = gains_of(runs[highlight], runs[before])
    means = {row: summary["summary"][row][setting][metric]["mean"] for row in trivial}
    best = (min if metric.removesuffix("_hole") in lower else max)(means, key=lambda row: means[row])
    rows, titles, chosen = [], [], []
    for what, picture in choose(gains, wanted.rows):
        held = {row: read_pictures(files[row], setting, picture) for row in [best, *labels] if files[row].is_file()}
        if len(held) <= len(labels) or not all(f"row {_row_of(row, trivial)}" in kept for row, kept in held.items()):
            continue  # the answers are no pictures, or there was no room for this one
        row = [("input", held[best]["input"])]
        for label, kept in held.items():
            value = score({"mean": runs[label][0][picture], "spread": None}, units[metric])
            row.append((f"{label} {value}", kept[f"row {_row_of(label, trivial)}"]))
        rows.append([*row, ("truth", held[best]["truth"])])
        titles.append(f"{picture}: {what}, {gains[picture]:+.2f} {units[metric]}".rstrip() + ", mean over seeds")
        chosen.append(what)
    if not rows:
        return None
    save(sheet(rows, titles), file)
    names = {"file": file.name, "highlight": highlight, "reference": before, "setting": setting, "metric": metric}
    return {**names, "rows": chosen, "titles": titles}


def _row_of(label: str, trivial: Sequence[str]) -> str:
    """What a method is called in the file of its pictures."""
    return label if label in trivial else MODEL


def _one_of(where: str, wanted: str | None, known: Sequence[str], default: str) -> str:
    if wanted is not None and wanted not in known:
        raise UserError(f"{where}: there is no {wanted!r}; there are: {', '.join(known)}")
    return wanted or default


def _plugins() -> dict[str, str]:
    """The plugins' distributions and versions."""
    plugins.load()
    owners = {p.owner.distribution: p.owner.version for p in plugins.loaded if p.source != "built in" and not p.error}
    return dict(sorted(owners.items()))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Sums depend on the number of threads, so that scores are computed with a known one."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

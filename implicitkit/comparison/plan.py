"""From a comparison's configuration to its runs: one training configuration per method and seed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from implicitkit.config import Document, Places, TrainConfig, naming, validate
from implicitkit.config.comparison import CompareConfig, Method, Overrides
from implicitkit.errors import check_known
from implicitkit.files import ASSETS, shipped_folder
from implicitkit.nested import fill_in
from implicitkit.registry.kinds import models, named_spec
from implicitkit.training.curves import Curve, read_curve

MERGED_SECTIONS = ("data", "optimiser", "validation")


@dataclass(frozen=True)
class PlannedRun:
    """One training run of a comparison.

    Attributes:
        label: of the method, or of the stage.
        seed: of everything random in it.
        config: the whole run.
        after: the run whose weights it starts from, if there is one.
        options: of the questions when it is scored.
    """

    label: str
    seed: int
    config: TrainConfig
    after: PlannedRun | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    passes = None  # the model's own
    missing = "not trained yet"

    @property
    def name(self) -> str:
        """What it is called in messages, by ``--only`` and below ``runs/``."""
        return f"{self.label}/seed-{self.seed}"

    @property
    def folder(self) -> Path:
        """Where it is trained."""
        return self.config.output

    @property
    def weights(self) -> Path:
        """What is evaluated: the best weights by validation, or the last where nothing is validated."""
        validates = self.config.data.held_out > 0 or self.config.validation.folders
        return self.folder / ("best.safetensors" if validates else "last.safetensors")

    @property
    def finished(self) -> bool:
        """Whether it was trained to its end."""
        return (self.folder / "last.safetensors").is_file()

    @property
    def curve(self) -> Curve:
        """What its log says; the time begins with the run that it starts from."""
        before = self.after.curve.total_seconds if self.after else 0.0
        return read_curve(self.folder, self.config.batch, before)


@dataclass(frozen=True)
class GivenWeights:
    """Weights that are scored as they are.

    Attributes:
        name: the method's.
        weights: a file, or the name of a pretrained model; None for the methods that need no training.
        folder: where the scores are kept.
        passes: how often a picture goes through, in place of the model's own.
        run: the run of this comparison that they are of, if they are of one.
        options: of the questions when they are scored.
    """

    name: str
    weights: str | Path | None
    folder: Path
    passes: int | None = None
    run: PlannedRun | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    seed = "given"

    @property
    def finished(self) -> bool:
        """Whether they are there."""
        return self.run is None or self.run.finished

    @property
    def missing(self) -> str:
        """Why they cannot be scored while they are not there."""
        return f"takes the weights of {self.run.name if self.run else self.weights}, which is not trained yet"


Source = PlannedRun | GivenWeights


@dataclass(frozen=True)
class Plan:
    """A comparison, resolved.

    Attributes:
        config: the comparison, its texts filled in.
        rows: method -> what is scored: a run for each seed, or weights that are given.
    """

    config: CompareConfig
    rows: dict[str, list[Source]] = field(default_factory=dict)

    @property
    def finished(self) -> dict[str, list[Source]]:
        """What can be scored; a method that nothing is finished of is left out."""
        finished = {label: [source for source in row if source.finished] for label, row in self.rows.items()}
        return {label: row for label, row in finished.items() if row}

    def ordered(self, only: Collection[str] = ()) -> list[PlannedRun]:
        """All runs in the order of training: seed by seed, so that early on there is something of every method, and
        each behind the one that it starts from.

        Args:
            only: labels, or names such as ``sair/seed-1``, to keep; none keeps all.

        Raises:
            ConfigError: ``only`` names what is not there.
        """
        runs = [run for row in self.rows.values() for run in row if isinstance(run, PlannedRun)]
        for name in only:
            check_known(name, [*self.config.methods, *(run.name for run in runs)], "--only: there is no method or run")
        chosen = [run for run in runs if not only or run.label in only or run.name in only]
        chosen.sort(key=lambda run: run.seed)  # stable: methods stay in their order
        with_first = [r for run in chosen for r in ([run.after] if run.after else []) + [run]]
        return list({run.name: run for run in with_first}.values())


def make_plan(config: CompareConfig, where: str = "the comparison") -> Plan:
    """Resolve ``config``, which errors call ``where``.

    Raises:
        ConfigError: a run's configuration is wrong; the message names the method and the path in it.
        UserError: a model's name is not known.
    """
    names = {"output": str(config.output), "assets": str(ASSETS), "examples": str(shipped_folder("examples"))}
    places = config.places
    plan = Plan(CompareConfig.model_validate(fill_in(config.model_dump(mode="json"), names)))
    config = plan.config
    config.places = places
    for label, method in config.methods.items():
        plan.rows[label] = []
        seeds = dict.fromkeys(method.seeds or config.seeds) if method.weights_only is None else ()
        for seed in seeds:
            first = None
            if isinstance(method.first, str):
                first = _run(config, method.first, seed, config.stages[method.first], where)
            elif method.first is not None:
                first = _run(config, f"{label} first", seed, method.first, where)
            plan.rows[label].append(_run(config, label, seed, method, where, first))
    runs = {run.name: run for run in plan.ordered()}
    for label, method in config.methods.items():
        if (weights := method.weights_only) is not None:
            elsewhere = Path(weights).exists() or weights in models
            if weights.split("/")[0] in config.methods and not elsewhere:
                check_known(weights, runs, f"{where}, {label}: weights_only: there is neither a file nor a run")
            run = runs.get(weights)
            folder = config.output / "runs" / label
            given = GivenWeights(label, run.weights if run else weights, folder, method.passes, run, method.options)
            plan.rows[label].append(given)
    return plan


def _run(
    config: CompareConfig, label: str, seed: int, own: Overrides, where: str, after: PlannedRun | None = None
) -> PlannedRun:
    settings = {**config.base}
    for key, value in own.training.items():
        both = key in MERGED_SECTIONS and isinstance(value, Mapping) and isinstance(settings.get(key), Mapping)
        settings[key] = {**settings[key], **value} if both else value
    model = settings["model"]
    if registered := isinstance(model, str):
        entry, first = models.find(model)
        model = named_spec(entry, *first)
    with naming(f"{where}, {label}"):
        settings["model"] = config.shared.of(model, registered) if isinstance(own, Method) else model
    options = own.options if isinstance(own, Method) else {}
    if options:  # checked when the run begins, not when it is scored
        validation = settings.get("validation") or {}
        settings["validation"] = {**validation, "options": {**(validation.get("options") or {}), **options}}
    if after is not None:
        settings = fill_in(settings, {"first": str(after.weights)})
    settings |= {"seed": seed, "output": str(config.output / "runs" / label / f"seed-{seed}")}
    document = Document(settings, places_of_run(config.places, label))
    return PlannedRun(label, seed, validate(TrainConfig, document, f"{where}, {label}"), after, options)


def places_of_run(places: Places, label: str) -> Places:
    """Where the entries of a run's configuration stand in that of the comparison: in ``base``, or in what is its own.

    >>> places = Places({("base", "steps"): "line 2", ("methods", "lte", "steps"): "line 9"})
    >>> dict(places_of_run(places, "lte"))
    {('steps',): 'line 9'}
    """
    name = label.removesuffix(" first")
    own = ("methods", label), ("stages", label), ("methods", name, "first")
    merged = {path[1:]: place for path, place in places.items() if path[0] == "base" and len(path) > 1}
    for prefix in own:
        inside = {p[len(prefix) :]: place for p, place in places.items() if p[: len(prefix)] == prefix != p}
        tops = {path[0] for path in inside} - set(MERGED_SECTIONS)
        merged = {path: place for path, place in merged.items() if path[0] not in tops} | inside
    return Places(merged)

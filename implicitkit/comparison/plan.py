"""From a comparison's configuration to its runs: one training configuration per method and seed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from implicitkit.comparison.config import CompareConfig, Evaluation, Preparation, did_you_mean
from implicitkit.config import Strict, TrainConfig, load_yaml, validate
from implicitkit.errors import ConfigError, UserError
from implicitkit.files import write_text
from implicitkit.registry.kinds import models

MERGED = ("data", "optimiser", "validation")
FREE_KEYS = ("output", "log_every", "checkpoint_every", "keep_checkpoints", "license", "trained_on")
FREE_DATA_KEYS = ("data.workers", "data.cache")
"""What may change between two calls of one comparison, since it changes no number."""


@dataclass(frozen=True)
class PlannedRun:
    """One training run of a comparison.

    Attributes:
        label: of the method, or of the stage.
        seed: of everything random in it.
        config: the whole run.
        after: the run whose weights it starts from, if there is one.
    """

    label: str
    seed: int
    config: TrainConfig
    after: PlannedRun | None = None

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
        return self.folder / ("best.safetensors" if _validates(self.config) else "last.safetensors")

    @property
    def finished(self) -> bool:
        """Whether it was trained to its end."""
        return (self.folder / "last.safetensors").is_file()


@dataclass(frozen=True)
class Plan:
    """A comparison, resolved: texts filled in, every run a whole configuration.

    Attributes:
        config: what it was made from.
        output: the comparison's folder.
        runs: method -> its runs, one per seed; none of a method that only has weights.
        files: method -> the weights of one that only has weights.
        borrowed: method -> the run that those weights are of, if it is one of this comparison.
        prepare: what is made before the runs.
        evaluation: label -> how all are scored.
    """

    config: CompareConfig
    output: Path
    runs: dict[str, list[PlannedRun]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    borrowed: dict[str, PlannedRun] = field(default_factory=dict)
    prepare: list[Preparation] = field(default_factory=list)
    evaluation: dict[str, Evaluation] = field(default_factory=dict)

    @property
    def labels(self) -> list[str]:
        """The methods, in the configuration's order."""
        return [label for label in self.config.methods if label in self.runs or label in self.files]

    def ordered(self, only: Collection[str] = ()) -> list[PlannedRun]:
        """All runs in the order of training: seed by seed, so that early on there is something of every method, and
        each behind the one that it starts from.

        Args:
            only: labels, or names such as ``sair/seed-1``, to keep; none keeps all.
        """
        chosen = [run for runs in self.runs.values() for run in runs if _is_wanted(run, only)]
        chosen.sort(key=lambda run: run.seed)  # stable: methods stay in their order
        with_first = [r for run in chosen for r in ([run.after] if run.after else []) + [run]]
        return list({run.name: run for run in with_first}.values())


def make_plan(config: CompareConfig, output: Path | None = None, where: str = "the comparison") -> Plan:
    """Resolve ``config``.

    Args:
        config: the comparison.
        output: in place of ``config.output``.
        where: what to call the configuration in errors.

    Raises:
        ConfigError: a run's configuration is wrong; the message names the method and the path in it.
        UserError: a model's name is not known.
    """
    output = output or config.output
    names = {"output": str(output), "assets": str(files("implicitkit") / "assets")}
    plan = Plan(
        config,
        output,
        prepare=[_filled(step, names) for step in config.prepare],
        evaluation={label: _filled(evaluation, names) for label, evaluation in config.evaluation.items()},
    )
    for label, method in config.methods.items():
        if method.weights_only is not None:
            plan.files[label] = fill_in(method.weights_only, names)
            continue
        plan.runs[label] = []
        for seed in dict.fromkeys(method.seeds or config.seeds):
            first = None
            if method.first is not None:
                named = isinstance(method.first, str)
                stage = config.stages[method.first] if isinstance(method.first, str) else method.first
                title = str(method.first) if named else f"{label} first"
                first = _run(config, title, seed, stage.training, names, f"{where}, {title}")
            known = names | ({"first": str(first.weights)} if first else {})
            plan.runs[label].append(_run(config, label, seed, method.training, known, f"{where}, {label}", first))
    _borrow(plan, where)
    return plan


def _borrow(plan: Plan, where: str) -> None:
    """Find the runs among the weights that methods take."""
    runs = {run.name: run for runs in plan.runs.values() for run in runs}
    for label, weights in plan.files.items():
        if weights in runs:
            plan.borrowed[label] = runs[weights]
            plan.files[label] = str(runs[weights].weights)
        elif weights.partition("/")[0] in plan.config.methods and not Path(weights).exists():
            raise ConfigError(
                f"{where}, {label}: weights_only: there is neither a file nor a run {weights!r}; the runs are "
                f"{', '.join(runs) or 'none'}"
            )


def _run(
    config: CompareConfig,
    label: str,
    seed: int,
    own: Mapping[str, Any],
    names: Mapping[str, str],
    where: str,
    after: PlannedRun | None = None,
) -> PlannedRun:
    merged = {**config.base}
    for key, value in own.items():
        both = key in MERGED and isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = {**merged[key], **value} if both else value
    if isinstance(merged["model"], str):
        merged["model"] = spec_of(merged["model"])
    folder = Path(names["output"]) / "runs" / label / f"seed-{seed}"
    settings = {**fill_in(merged, names), "seed": seed, "output": str(folder)}
    return PlannedRun(label, seed, validate(TrainConfig, settings, where), after)


def spec_of(name: str) -> dict[str, Any]:
    """The spec of a registered model."""
    entry, first = models.find(name)
    return dict(models.resolve(entry)(*first))


def fill_in(value: Any, names: Mapping[str, str]) -> Any:
    """``value`` with ``{output}`` and the like replaced in all its texts."""
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace(f"{{{name}}}", text)
        return value
    if isinstance(value, Mapping):
        return {key: fill_in(inner, names) for key, inner in value.items()}
    return [fill_in(inner, names) for inner in value] if isinstance(value, list) else value


def _filled(section: Any, names: Mapping[str, str]) -> Any:
    """A section of the configuration with its texts filled in."""
    assert isinstance(section, Strict)
    return type(section).model_validate(fill_in(section.model_dump(mode="json"), names))


def write_config(run: PlannedRun) -> None:
    """Put the run's ``config.yaml`` into its folder, or check that the one there is of the same run.

    Raises:
        ConfigError: it is of another run; the message names what differs.
        UserError: the folder holds something else, or cannot be written.
    """
    file = run.folder / "config.yaml"
    if file.is_file():
        stored = validate(TrainConfig, load_yaml(file), str(file))
        before, now = (dict(flattened(config.model_dump(mode="json"))) for config in (stored, run.config))
        changed = [k for k in before | now if before.get(k) != now.get(k) and not _may_change(k)]
        if changed:
            what = "; ".join(f"{key} was {before.get(key)!r} and is {now.get(key)!r}" for key in changed[:3])
            raise ConfigError(
                f"the run {run.name} in {run.folder} was begun with another configuration: {what}; choose another "
                "output, or remove the folder to train it again"
            )
    elif any(p.name.endswith(".safetensors") or p.name == "checkpoints" for p in run.folder.glob("*")):
        raise UserError(f"{run.folder} holds something else than a run of this comparison; choose another output")
    if run.finished:
        return
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {run.folder}: {error.strerror or error}") from None
    write_text(file, yaml.safe_dump(run.config.model_dump(mode="json"), sort_keys=False))


def flattened(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings, by dotted path; a list is a leaf."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flattened(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def check_only(plan: Plan, only: Collection[str]) -> None:
    """Raise :class:`ConfigError` if ``only`` names what is not there."""
    known = [*plan.runs, *plan.files, *(run.name for runs in plan.runs.values() for run in runs)]
    for name in only:
        if name not in known:
            raise ConfigError(f"--only: there is no method or run {name!r}; {did_you_mean(name, known)}")


def _is_wanted(run: PlannedRun, only: Collection[str]) -> bool:
    return not only or run.label in only or run.name in only


def _may_change(key: str) -> bool:
    return key.partition(".")[0] in FREE_KEYS or key in FREE_DATA_KEYS


def _validates(config: TrainConfig) -> bool:
    return config.data.held_out > 0 or bool(config.validation.folders)

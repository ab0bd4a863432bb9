"""What ``implicitkit compare`` reads: a training configuration, methods that differ from it, and how all are scored."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, field_validator, model_validator

from implicitkit.config.documents import Document, Places, load_yaml, set_entry
from implicitkit.config.inheritance import merged, with_base
from implicitkit.config.sections import Strict
from implicitkit.config.training import TrainConfig
from implicitkit.errors import ConfigError, check_known
from implicitkit.files import read_json
from implicitkit.nested import flattened, unshared
from implicitkit.registry.kinds import decoders, encoders, models, named_spec
from implicitkit.registry.registry import Registry

LABEL = re.compile(r"\w[\w +()=.,-]*")
MAX_SWEEP = 100
MetricSpecs = list[str | dict[str, Any]]
USUAL_METRICS: MetricSpecs = ["psnr", "ssim", "l1"]
TRAINING_KEYS = [key for key in TrainConfig.model_fields if key not in ("output", "seed")]  # the comparison sets those


class Overrides(Strict):
    """Entries of a training configuration that take the place of those of ``base``; ``data``, ``optimiser`` and
    ``validation`` are merged entry by entry.
    """

    model_config = ConfigDict(extra="allow")
    model: str | dict[str, Any] | None = Field(None, description="a spec, or a registered name")

    @model_validator(mode="after")
    def _are_of_training(self) -> Overrides:
        for key in self.training:
            check_known(key, [*type(self).model_fields, *TRAINING_KEYS], "unknown key")
        return self

    @property
    def training(self) -> dict[str, Any]:
        """The entries that are a training configuration's."""
        given = {"model": self.model} if self.model is not None else {}
        return {**given, **(self.model_extra or {})}


class Method(Overrides):
    """One row of the tables."""

    sweep: dict[str, Any] | None = Field(
        None,
        description="a row for each value in the lists, all of them with all: {optimiser: {lr: [1e-4, 1e-3]}}",
    )
    first: str | Overrides | None = Field(
        None, description="a run that goes before: overrides of base, or the name of one of stages"
    )
    seeds: list[int] | None = Field(None, min_length=1, description="in place of the comparison's")
    weights_only: str | None = Field(
        None,
        description="trained elsewhere: a weight file or a pretrained model's name; or here: another method's run, "
        "such as sair/seed-0",
    )
    passes: int | None = Field(
        None, ge=1, description="with weights_only: how often a picture goes through, in place of the model's own"
    )

    options: dict[str, Any] = Field(
        default_factory=dict, description="of the questions when it is validated and scored, such as {temperature: 0.8}"
    )

    @model_validator(mode="after")
    def _trained_here_or_elsewhere(self) -> Method:
        if self.weights_only is not None and (self.training or self.first is not None or self.seeds is not None):
            raise ValueError("weights_only stands alone, or with passes and options: it is trained already")
        if self.weights_only is None and self.passes is not None:
            raise ValueError("passes goes with weights_only; in what is trained it is an entry of the model")
        if self.weights_only is None and self.model is None:
            raise ValueError("a method needs a model, or weights_only")
        return self


class Shared(Strict):
    """What the models of all methods have in common: entries of a model's spec, which none of them says otherwise."""

    encoder: str | dict[str, Any] | None = Field(None, description="a name, or options such as {channels: 32}")
    decoder: str | dict[str, Any] | None = Field(None, description="a name, or options such as {skip: bilinear}")
    inputs: list[str] | None = Field(None, description="as in a model's spec")
    scales: list[float] | None = Field(None, description="as in a model's spec")
    passes: int | None = Field(None, ge=1, description="as in a model's spec")
    fill: float | list[float] | str | None = Field(None, description="as in a model's spec")

    def of(self, model: Mapping[str, Any], registered: bool = False) -> dict[str, Any]:
        """A method's spec with what is shared; ``registered``: it is a named model's, whose entries give way.

        Raises:
            ConfigError: the spec says otherwise, or its part does not take an option.
        """
        merged = dict(model)
        for key, value in self.model_dump(exclude_none=True).items():
            if key not in ("encoder", "decoder"):
                own, common = {key: model[key]} if key in model else {}, {key: value}
                merged[key] = value
            else:
                own, common = (
                    {"name": part} if isinstance(part, str) else part for part in (model.get(key, {}), value)
                )
                merged[key] = {**own, **common}
                _check_options({"encoder": encoders, "decoder": decoders}[key], merged[key], common, f"shared.{key}")
            for option in [] if registered else [o for o in common if o in own and own[o] != common[o]]:
                path = key if key == option else f"{key}.{option}"
                raise ConfigError(
                    f"model.{path} is {own[option]!r}, and shared.{path} {common[option]!r}; leave one of them out"
                )
        return merged


def _check_options(registry: Registry[Any], part: Mapping[str, Any], common: Mapping[str, Any], where: str) -> None:
    name = part.get("name")
    takes = registry.options(name) if isinstance(name, str) and name in registry else None
    for option in common:
        if takes is not None and option not in (*takes, "name", "trainable"):
            raise ConfigError(
                f"{where}.{option}: {registry.kind} {name!r} takes no {option!r} (it takes: {', '.join(takes)}); share "
                "what all methods take, and write the rest in their models"
            )


class Cut(Strict):
    """Pictures cut into squares, most of them for training, the others for testing: data from a few photographs."""

    folders: list[str] = Field(min_length=1, description="pictures, searched recursively")
    side: int = Field(128, ge=8, description="of a square, pixels")
    test_every: int = Field(5, ge=2, description="every n-th square is used for testing")


class Preparation(Strict):
    """Something that is made once, before the runs."""

    makes: str = Field(description="the file or folder; what is there is not made again")
    command: list[str] | None = Field(None, min_length=1, description="arguments of implicitkit")
    cut: Cut | None = Field(None, description="squares of pictures, into makes/train and makes/test")
    resumes_from: str | None = Field(None, description="a file that a stopped command leaves: --resume is then added")

    @model_validator(mode="after")
    def _one_way(self) -> Preparation:
        if (self.command is None) == (self.cut is None):
            raise ValueError("give command or cut, and not both")
        return self


class Evaluation(Strict):
    """A protocol's spec and the test set; further entries are the protocol's own options."""

    model_config = ConfigDict(extra="allow")
    protocol: str | None = Field(None, description="(default: the one that base.degradation asks for)")
    data: str
    metrics: MetricSpecs | None = Field(USUAL_METRICS, min_length=1, description="null: the protocol's own")

    @model_validator(mode="before")
    @classmethod
    def _a_spec_is_a_name_and_its_options(cls, value: Any) -> Any:
        """``protocol: {name: benchmark, scales: [2]}``, as specs are written elsewhere."""
        protocol = value.get("protocol") if isinstance(value, Mapping) else None
        if not isinstance(protocol, Mapping):
            return value
        options = {key: inner for key, inner in protocol.items() if key != "name"}
        if twice := options.keys() & value.keys():
            raise ValueError(f"{min(twice)!r} stands inside protocol and beside it; keep one")
        return {**value, **options, "protocol": protocol.get("name")}


class Grid(Strict):
    """The pictures that are shown: the best, the middle and the worst gain of a method over a reference."""

    rows: int = Field(3, ge=1, description="3: best, median, worst; others are spread evenly over the gains")
    highlight: str | None = Field(None, description="the method whose gain counts (default: the last trained)")
    setting: str | None = Field(None, description="of the evaluation (default: its last)")
    metric: str | None = Field(None, description="(default: psnr_hole where there is one, else the first)")


class CompareConfig(Strict):
    """A whole comparison."""

    base: dict[str, Any] = Field(
        default_factory=dict,
        description="a training configuration, without model, seed and output; none where nothing is trained",
    )
    shared: Shared = Field(default_factory=Shared, description="entries of all methods' models")
    stages: dict[str, Overrides] = Field(default_factory=dict, description="runs that several methods begin with")
    methods: dict[str, Method] = Field(min_length=1, description="label -> what differs from base")
    seeds: list[int] = Field(default=[0, 1, 2], min_length=1)
    prepare: list[Preparation] = Field(default_factory=list)
    evaluation: dict[str, Evaluation] = Field(min_length=1, description="a protocol's spec, or several by label")
    reference: list[str] = Field(default_factory=list, description="methods that the others are compared to")
    pictures: Grid = Grid()
    output: Path = Field(description="the comparison's folder")
    jobs: int = Field(1, ge=1, description="runs at a time")
    threads: int | None = Field(None, ge=1, description="of each run (default: shares of the cores or OMP_NUM_THREADS)")
    title: str = Field("", description="the report's first line")
    notes: str = Field("", description="what a reader of the report should know")

    @field_validator("methods", mode="before")
    @classmethod
    def _each_value_is_a_method(cls, methods: Any) -> Any:
        return unrolled(methods) if isinstance(methods, Mapping) else methods

    @field_validator("base")
    @classmethod
    def _base_is_shared(cls, base: dict[str, Any]) -> dict[str, Any]:
        for key in ("model", "output", "seed"):
            if key in base:
                raise ValueError(f"base holds what all runs share; {key!r} is not of it")
        for key in base:
            check_known(key, TRAINING_KEYS, "unknown key")
        return base

    @field_validator("evaluation", mode="before")
    @classmethod
    def _one_has_no_label(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and any(isinstance(value.get(key), str) for key in ("protocol", "data")):
            protocol = value.get("protocol")
            name = protocol.get("name") if isinstance(protocol, Mapping) else protocol
            return {name if isinstance(name, str) and name else "test": value}
        return value

    @model_validator(mode="after")
    def _names_agree(self) -> CompareConfig:
        for kind in ("stages", "methods", "evaluation"):
            for label in getattr(self, kind):
                if not LABEL.fullmatch(label):
                    raise ValueError(f"{kind}: a label becomes a file's name: letters, digits, _ +-(); not {label!r}")
        if clash := self.stages.keys() & self.methods.keys():
            raise ValueError(f"stages and methods share the label {min(clash)!r}; rename one")
        for label in self.reference:
            check_known(label, self.methods, "reference: unknown")
        if self.pictures.highlight is not None:
            check_known(self.pictures.highlight, self.methods, "pictures.highlight: unknown")
        for label, method in self.methods.items():
            if isinstance(method.first, str):
                check_known(method.first, self.stages, f"methods.{label}.first: unknown")
        for label, stage in self.stages.items():
            if stage.model is None:
                raise ValueError(f"stages.{label}: a stage needs a model")
        return self

    @model_validator(mode="after")
    def _base_for_what_is_trained(self) -> CompareConfig:
        trained = next((label for label, method in self.methods.items() if method.weights_only is None), None)
        if trained is not None and not self.base:
            raise ValueError(f"base: required, as {trained} is to be trained")
        if not self.base and any(test.protocol is None for test in self.evaluation.values()):
            raise ValueError("evaluation.protocol: required, as there is no base whose degradation asks for one")
        return self


def unrolled(methods: Mapping[str, Any]) -> dict[str, Any]:
    """``methods`` with a method for each combination of the values in its ``sweep``.

    Raises:
        ValueError: a sweep has no list, or too many combinations.

    >>> list(unrolled({"LIIF": {"model": "m", "sweep": {"optimiser": {"lr": [1e-4, 1e-3]}, "batch": [4, 8]}}}))
    ['LIIF lr=0.0001 batch=4', 'LIIF lr=0.0001 batch=8', 'LIIF lr=0.001 batch=4', 'LIIF lr=0.001 batch=8']
    """
    rows: dict[str, Any] = {}
    for label, method in methods.items():
        if not isinstance(method, Mapping) or method.get("sweep") is None:
            rows[label] = method
            continue
        if not isinstance(method["sweep"], Mapping):
            raise ValueError(f"{label}.sweep: entries with lists of values; received {method['sweep']!r}")
        axes = {tuple(path.split(".")): values for path, values in flattened(method["sweep"])}
        for path, values in axes.items():
            if not isinstance(values, list) or not values:
                raise ValueError(f"{label}.sweep.{'.'.join(path)}: a list of values; received {values!r}")
        if (count := math.prod(len(values) for values in axes.values())) > MAX_SWEEP:
            raise ValueError(f"{label}.sweep: {count} combinations; at most {MAX_SWEEP} are run")
        for chosen in itertools.product(*axes.values()):
            row = unshared({key: value for key, value in method.items() if key != "sweep"})
            for path, value in zip(axes, chosen, strict=True):
                if path[0] == "model" and isinstance(row.get("model"), str):
                    entry, first = models.find(row["model"])
                    row["model"] = named_spec(entry, *first)
                set_entry(row, path, value, f"{label}.sweep")
            named = [f"{path[-1]}={_text(value)}" for path, value in zip(axes, chosen, strict=True)]
            rows[f"{label} {' '.join(named)}"] = row
    return rows


def _text(value: Any) -> str:
    """A value as a label has it."""
    if isinstance(value, Mapping):
        value = value.get("name", "-".join(map(str, value.values())))
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return re.sub(r"[^\w+().,-]+", "", text.replace(", ", "-"))


def with_training_base(config: Mapping[str, Any], folder: Path, where: str) -> Document:
    """``config`` with what its ``base`` begins with, if that is a file or has a ``base`` of its own; of that file,
    ``model``, ``seed`` and ``output`` do not count, which a comparison sets.

    Raises:
        ConfigError: the file is missing or not YAML.
    """
    base = config.get("base")
    document = Document(dict(config), Places(getattr(config, "places", {})))
    if not isinstance(base, str) and not (isinstance(base, Mapping) and "base" in base):
        return document
    own = {} if isinstance(base, str) else {key: value for key, value in base.items() if key != "base"}
    begun = with_base({"base": base if isinstance(base, str) else base["base"]}, folder, where)
    begun = Document({k: v for k, v in begun.items() if k not in ("model", "seed", "output")}, begun.places)
    document["base"] = merged(dict(begun), own)
    document.places.update(
        {("base", *path): at for path, at in begun.places.items() if ("base", *path) not in document.places}
    )
    return document


def load_comparison(path: Path) -> dict[str, Any]:
    """The configuration in a YAML file, or the one that a ``report.json`` was made with.

    Raises:
        UserError: there is no such file, or it holds neither.
    """
    if path.suffix != ".json":
        return with_training_base(load_yaml(path), path.parent, str(path))
    report = read_json(path)
    config = report.get("config") if isinstance(report, dict) else None
    if not isinstance(config, dict):
        raise ConfigError(f"{path} is not the report.json of a comparison")
    return config

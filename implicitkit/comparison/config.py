"""What ``implicitkit compare`` reads: a training configuration, methods that differ from it, and how all are scored."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, field_validator, model_validator

from implicitkit.config import Strict, TrainConfig, load_yaml
from implicitkit.errors import ConfigError, nearest

LABEL = re.compile(r"\w[\w +()-]*")
MetricSpecs = list[str | dict[str, Any]]
USUAL: MetricSpecs = ["psnr", "ssim", "l1"]
SET_BY_US = ("output", "seed")
"""Entries of a training configuration that a comparison fills in itself."""


class Overrides(Strict):
    """Entries of a training configuration that take the place of those of ``base``; ``data``, ``optimiser`` and
    ``validation`` are merged entry by entry.
    """

    model_config = ConfigDict(extra="allow")
    model: str | dict[str, Any] | None = Field(None, description="a spec, or a registered name")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            own = [*cls.model_fields, *(key for key in TrainConfig.model_fields if key not in SET_BY_US)]
            for key in value:
                if key not in own:
                    raise ValueError(f"unknown key {key!r}; {did_you_mean(str(key), own)}")
        return value

    @property
    def training(self) -> dict[str, Any]:
        """The entries that are a training configuration's."""
        given = {"model": self.model} if self.model is not None else {}
        return {**given, **(self.model_extra or {})}


class Method(Overrides):
    """One row of the tables."""

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

    @model_validator(mode="after")
    def _trained_here_or_elsewhere(self) -> Method:
        if self.weights_only is not None and (self.training or self.first is not None or self.seeds is not None):
            raise ValueError("weights_only stands alone, or with passes: what is trained already takes no others")
        if self.weights_only is None and self.passes is not None:
            raise ValueError("passes goes with weights_only; in what is trained it is an entry of the model")
        if self.weights_only is None and self.model is None:
            raise ValueError("a method needs a model, or weights_only")
        return self


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
    metrics: MetricSpecs | None = Field(USUAL, min_length=1, description="null: the protocol's own")

    def spec(self, degradation: Any) -> dict[str, Any]:
        """What ``create_protocol`` takes, ``degradation`` being the one that is trained on."""
        named = as_trained(degradation) if self.protocol is None else {"name": self.protocol}
        return {**named, **(self.model_extra or {})}


class Grid(Strict):
    """The pictures that are shown: the best, the middle and the worst gain of a method over a reference."""

    rows: int = Field(3, ge=1, description="3: best, median, worst; others are spread evenly over the gains")
    highlight: str | None = Field(None, description="the method whose gain counts (default: the last trained)")
    setting: str | None = Field(None, description="of the evaluation (default: its last)")
    metric: str | None = Field(None, description="(default: psnr_hole where there is one, else the first)")


class CompareConfig(Strict):
    """A whole comparison."""

    base: dict[str, Any] = Field(description="a training configuration, without model, seed and output")
    stages: dict[str, Overrides] = Field(default_factory=dict, description="runs that several methods begin with")
    methods: dict[str, Method] = Field(min_length=1, description="label -> what differs from base")
    seeds: list[int] = Field(default=[0, 1, 2], min_length=1)
    prepare: list[Preparation] = Field(default_factory=list)
    evaluation: dict[str, Evaluation] = Field(min_length=1, description="a protocol's spec, or several by label")
    reference: list[str] = Field(default_factory=list, description="methods that the others are compared to")
    pictures: Grid = Grid()
    output: Path = Field(description="the comparison's folder")
    jobs: int = Field(1, ge=1, description="runs at a time")
    threads: int | None = Field(None, ge=1, description="of each run (default: the cores shared out)")
    title: str = Field("", description="the report's first line")
    notes: str = Field("", description="what a reader of the report should know")

    @field_validator("base")
    @classmethod
    def _base_is_shared(cls, base: dict[str, Any]) -> dict[str, Any]:
        for key in ("model", *SET_BY_US):
            if key in base:
                raise ValueError(f"base holds what all runs share; {key!r} is not of it")
        for key in base:
            if key not in TrainConfig.model_fields:
                raise ValueError(f"unknown key {key!r}; {did_you_mean(key, list(TrainConfig.model_fields))}")
        return base

    @field_validator("evaluation", mode="before")
    @classmethod
    def _one_has_no_label(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and any(isinstance(value.get(key), str) for key in ("protocol", "data")):
            return {value.get("protocol") or "test": value}
        return value

    @model_validator(mode="after")
    def _names_agree(self) -> CompareConfig:
        for kind in ("stages", "methods", "evaluation"):
            for label in getattr(self, kind):
                if not LABEL.fullmatch(label):
                    raise ValueError(f"{kind}: a label becomes a file's name: letters, digits, _ +-(); not {label!r}")
        clash = self.stages.keys() & self.methods.keys()
        if clash:
            raise ValueError(f"stages and methods share the label {min(clash)!r}; rename one")
        for label in self.reference:
            self._must_know("reference", label, self.methods)
        if self.pictures.highlight is not None:
            self._must_know("pictures.highlight", self.pictures.highlight, self.methods)
        for label, method in self.methods.items():
            if isinstance(method.first, str):
                self._must_know(f"methods.{label}.first", method.first, self.stages)
        for label, stage in self.stages.items():
            if stage.model is None:
                raise ValueError(f"stages.{label}: a stage needs a model")
        return self

    @staticmethod
    def _must_know(where: str, label: str, known: Mapping[str, Any]) -> None:
        if label not in known:
            raise ValueError(f"{where}: unknown {label!r}; {did_you_mean(label, list(known))}")


def load_comparison(path: Path) -> dict[str, Any]:
    """The configuration in a YAML file, or the one that a ``report.json`` was made with.

    Raises:
        ConfigError: there is no such file, or it holds neither.
    """
    if path.suffix != ".json":
        loaded: dict[str, Any] = unshared(load_yaml(path))
        return loaded
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        config = report["config"]
    except FileNotFoundError:
        raise ConfigError(f"there is no file {path}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(f"{path} is not the report.json of a comparison") from None
    if not isinstance(config, dict):
        raise ConfigError(f"{path} is not the report.json of a comparison")
    return config


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """What to say of an unknown name.

    >>> did_you_mean("metods", ["methods", "seeds"]), did_you_mean("x", ["methods", "seeds"])
    ("did you mean 'methods'?", 'there are: methods, seeds')
    """
    near = nearest(name, known)
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(dict.fromkeys(known)) or 'none'}"


def unshared(value: Any) -> Any:
    """A copy without shared parts: YAML's aliases are one object, and ``--set`` would change them all."""
    if isinstance(value, dict):
        return {key: unshared(inner) for key, inner in value.items()}
    return [unshared(inner) for inner in value] if isinstance(value, list) else value


SHARES = (1 / 3, 2 / 3, 1.0)
"""How far along each range the levels lie."""
LEVELS = ("mild", "middling", "strong")


def as_trained(degradation: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]) -> dict[str, Any]:
    """The spec of a protocol for what ``degradation`` does.

    Holes alone are scored by ``inpainting``, by bins of hole ratios. Anything else is scored by ``restoration`` at
    three levels: a third, two thirds and the whole way along every range ``[low, high]`` among its settings; as it is,
    where it has none.

    >>> as_trained({"name": "super_resolution", "scale": [1, 4]})["settings"].keys()
    dict_keys(['scale 2', 'scale 3', 'scale 4'])
    """
    listed = [degradation] if isinstance(degradation, (str, Mapping)) else list(degradation)
    steps: list[dict[str, Any]] = [{"name": step} if isinstance(step, str) else dict(step) for step in listed]
    if len(steps) == 1 and steps[0]["name"] == "inpainting":
        return _inpainting(steps[0])
    ranges = [(k, key) for k, step in enumerate(steps) for key in _ranges(step)]
    if not ranges:
        return {"name": "restoration", "settings": {" and ".join(step["name"] for step in steps): _one(steps)}}
    settings = {}
    for level, share in zip(LEVELS, SHARES, strict=True):
        fixed = [dict(step) for step in steps]
        for k, key in ranges:
            low, high = (float(end) for end in steps[k][key])
            fixed[k][key] = round(low + share * (high - low), 6)
        label = f"{ranges[0][1]} {fixed[ranges[0][0]][ranges[0][1]]:.4g}" if len(ranges) == 1 else level
        settings[label] = _one(fixed)
    return {"name": "restoration", "settings": settings}


def _inpainting(step: Mapping[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = {"name": "inpainting", "size": None}
    if "fill" in step:
        spec["fill"] = step["fill"]
    if "folder" in step:
        return {**spec, "masks": step["folder"]}
    return {**spec, **({"kind": step["kind"]} if "kind" in step else {})}


def _ranges(step: Mapping[str, Any]) -> Iterator[str]:
    for key, value in step.items():
        pair = isinstance(value, (list, tuple)) and len(value) == 2 and all(_is_number(v) for v in value)
        if pair and value[0] < value[1]:
            yield key


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _one(steps: list[dict[str, Any]]) -> Any:
    return steps if len(steps) > 1 else steps[0]

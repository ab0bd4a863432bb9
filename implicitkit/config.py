"""Model specs and training configurations, read strictly.

An unknown key, a wrong type or an invalid value is an error that names the path, what was received and the nearest
valid key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from implicitkit.errors import ConfigError, UnknownNameError, UserError, nearest
from implicitkit.nested import unshared

M = TypeVar("M", bound=BaseModel)


class Strict(BaseModel):
    """A section of a configuration: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", validate_default=True)

    @field_validator("*", mode="after")
    @classmethod
    def _home(cls, value: Any) -> Any:
        """``~`` is the user's home folder, as in a shell."""
        if isinstance(value, list):
            return [cls._home(item) for item in value]
        return value.expanduser() if isinstance(value, Path) else value


class PartSpec(BaseModel):
    """An encoder, decoder or degradation: its name and its arguments."""

    model_config = ConfigDict(extra="allow")
    name: str

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    def as_dict(self) -> dict[str, Any]:
        """``{"name": ..., **arguments}``."""
        return self.model_dump()


class LossSpec(PartSpec):
    """One term of the loss: its name, its weight in the sum, and its arguments."""

    weight: float = Field(1.0, description="weight in the sum")


class ModelSpec(Strict):
    """The parts of an ``ImplicitModel``; the name of a registered model stands for its parts."""

    encoder: PartSpec = Field(description="name, or a mapping with name and arguments")
    decoder: PartSpec = Field(description="name, or a mapping with name and arguments")
    conditions: dict[str, ModelSpec] = Field(default_factory=dict, description="models whose fields the decoder reads")
    inputs: list[Literal["image", "mask"]] = Field(default=["image"], description="inputs of the encoder")
    scales: tuple[float, float] | None = Field(default=None, description="magnifications it was trained on")
    passes: int = Field(1, ge=1, description="2: the first output is the picture of a second pass")
    fill: float | list[float] | str | None = Field(
        default=None,
        description="fill of holes in the encoder's input: a value in [0, 1], one per channel, mean, noise, harmonic "
        "or biharmonic (default: as in training, or 0.5)",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        from implicitkit.registry.kinds import models

        try:
            entry, first = models.find(value)
        except UnknownNameError as error:
            raise ValueError(str(error)) from None
        return models.resolve(entry)(*first)

    @field_validator("scales")
    @classmethod
    def _low_to_high(cls, scales: tuple[float, float] | None) -> tuple[float, float] | None:
        if scales is not None and not 0 < scales[0] <= scales[1]:
            raise ValueError("scales are [lowest, highest]")
        return scales


class DataConfig(Strict):
    """Training pictures and their crops."""

    folders: list[Path] = Field(min_length=1, description="folders of pictures, searched recursively")
    patch: int = Field(48, ge=1, description="side of the degraded crop the encoder sees, pixels")
    points: int | Literal["window"] = Field(
        2304, description="random output pixels per crop; window: all pixels of a window, for losses of pictures"
    )
    window: int | None = Field(
        None, ge=1, description="with points: window, its side in output pixels; null: the whole output"
    )
    in_holes: float = Field(0.0, ge=0, le=1, description="share of the points drawn where pixels are missing")
    sampling: Literal["uniform", "area"] = Field(
        "uniform", description="pictures equally likely, or in proportion to their pixels"
    )
    too_small: Literal["error", "skip", "mirror"] = Field(
        "error", description="what to do with a picture smaller than the largest crop"
    )
    held_out: int = Field(
        0, ge=0, description="pictures, spread evenly over the sorted list, kept for validation and never trained on"
    )
    flips: bool | Literal["horizontal"] = Field(
        True, description="random flips and transposition; horizontal: left and right alone, for upright objects"
    )
    cache: Literal["memory", "disk", "none"] = Field("memory", description="where decoded pictures are cached")
    workers: int = Field(0, ge=0, description="processes that prepare crops")

    @field_validator("points", mode="before")
    @classmethod
    def _number_or_window(cls, points: Any) -> Any:
        if points != "window" and not (isinstance(points, int) and points >= 1):
            raise ValueError("points are a number of at least 1, or window")
        return points

    @model_validator(mode="after")
    def _side_of_a_window(self) -> DataConfig:
        if self.window is not None and self.points != "window":
            raise ValueError(f"window: {self.window} is the side of a window; set points: window as well")
        return self


Fraction = Annotated[float, Field(ge=0, lt=1)]


class OptimiserConfig(Strict):
    """Adam or AdamW, and the learning-rate schedule."""

    name: Literal["adam", "adamw"] = "adam"
    weight_decay: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="of tensors with two or more dimensions; null: adam 0, adamw 0.01"
    )
    parts: dict[str, Any] = Field(
        default_factory=dict,
        description="factors on lr for parts of the model, {encoder: 0.1, conditions.semantic: 0.5}; the longest "
        "matching name counts",
    )
    lr: float = Field(1e-4, gt=0)
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    schedule: Literal["constant", "cosine", "step"] = Field(
        "step", description="step: multiply by gamma at each milestone"
    )
    warmup: int = Field(0, ge=0, description="steps of linear warm-up")
    milestones: list[float] = Field(default=[0.2, 0.4, 0.6, 0.8], description="fractions of all steps")
    gamma: float = Field(0.5, gt=0)
    final_lr: float = Field(0.0, ge=0, description="where cosine ends")
    clip: float | None = Field(None, gt=0, description="largest gradient norm")

    @field_validator("parts")
    @classmethod
    def _positive_factors(cls, parts: dict[str, Any]) -> dict[str, Any]:
        for part, value in parts.items():
            if isinstance(value, dict):
                cls._positive_factors(value)
            elif isinstance(value, bool) or not (isinstance(value, int | float) and 0 < value < float("inf")):
                raise ValueError(f"the factor of {part} is a number above 0; received {value!r}")
        return parts


class ValidationConfig(Strict):
    """Validation while training."""

    folders: list[Path] = Field(default_factory=list, description="pictures to validate on, besides those held out")
    scales: list[float] = Field(default=[2, 3, 4], min_length=1)
    every: int = Field(1000, ge=1, description="steps between validations")
    max_size: int = Field(512, ge=8, description="larger pictures are cropped to their centre")

    @field_validator("scales")
    @classmethod
    def _at_least_one(cls, scales: list[float]) -> list[float]:
        if any(s < 1 for s in scales):
            raise ValueError("scales are at least 1")
        return scales


class TrainConfig(Strict):
    """A whole training run."""

    model: ModelSpec
    data: DataConfig
    degradation: list[PartSpec] = Field(min_length=1, description="one, or several applied in order")
    loss: list[LossSpec] = Field(
        default=[LossSpec(name="l1")], min_length=1, description="one, or several that are weighted and added up"
    )
    optimiser: OptimiserConfig = OptimiserConfig()
    validation: ValidationConfig = ValidationConfig()
    weights: str | dict[str, Any] | None = Field(
        None,
        description="initial weights: a file, or a pretrained model's name; or a mapping with one for each of several "
        "parts, such as {conditions: {semantic: FILE}}",
    )
    output: Path = Field(description="run directory; must be new, or resumed")
    steps: int = Field(ge=1, description="optimiser steps")
    batch: int = Field(16, ge=1, description="crops per step, over all processes")
    accumulate: int = Field(1, ge=1, description="parts of a batch that run one after the other, to save memory")
    ema: float | None = Field(
        None, gt=0, lt=1, description="decay of the moving average of the weights, which is validated and saved"
    )
    seed: int = Field(0, ge=0, lt=2**32)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    compile: bool = Field(False, description="torch.compile the encoder")
    log_every: int = Field(50, ge=1)
    checkpoint_every: int = Field(1000, ge=1)
    keep_checkpoints: int = Field(2, ge=1)
    license: str = Field("", description="terms of the trained weights, written into their files")
    trained_on: str = Field("", description="the training data, written into the files")

    @field_validator("degradation", "loss", mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, value: Any) -> Any:
        return value if isinstance(value, list) else [value]

    @property
    def degradation_spec(self) -> Any:
        """The argument of ``create_degradation``: one spec, or a list of several."""
        specs = [part.as_dict() for part in self.degradation]
        return specs[0] if len(specs) == 1 else specs


def validate(kind: type[M], value: Any, where: str) -> M:
    """``value`` as a ``kind``.

    Raises:
        ConfigError: it is not valid; the message has one clause per mistake.
    """
    if isinstance(value, Mapping):
        _refuse_full_stops(value, "")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        clauses = "; ".join(_explain(kind, detail) for detail in error.errors()[:5])
        raise ConfigError(f"{where}: {clauses}") from None


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Begin the messages of errors in this context with the path in the configuration."""
    try:
        yield
    except (UserError, TypeError, ValueError, LookupError) as error:
        raise ConfigError(f"{path}: {error}") from error


class Loader(yaml.SafeLoader):
    """YAML in which ``1e-3`` is a number, as in YAML 1.2."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)|[-+]?([0-9]+\.[0-9]*|\.[0-9]+)|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
    ),
    list("-+0123456789."),
)


def load_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML mapping from a file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"there is no file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    try:
        value = yaml.load(text, Loader)  # a subclass of SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{at} is not YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path} must hold a mapping at its top; received {type(value).__name__}")
    loaded: dict[str, Any] = unshared(value)
    return loaded


def apply_settings(config: dict[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Set each ``key.sub=value`` in ``config``; values are YAML.

    >>> apply_settings({"optimiser": {"lr": 1}}, ["optimiser.lr=1e-4", "model.encoder=edsr"])
    {'optimiser': {'lr': 0.0001}, 'model': {'encoder': 'edsr'}}
    """
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not all(path.split(".")):
            raise ConfigError(f"--set takes key.sub=value; received {setting!r}")
        try:
            value = yaml.load(text, Loader)
        except yaml.YAMLError:
            raise ConfigError(f"--set {path}: {text!r} is not YAML") from None
        *parents, last = path.split(".")
        at = config
        for key in parents:
            inner = at.get(key)
            if isinstance(inner, str):  # a part given by name
                inner = {"name": inner}
            elif inner is None:
                inner = {}
            elif not isinstance(inner, dict):
                raise ConfigError(f"--set {path}: {key!r} holds {inner!r}, which has no entries of its own")
            at[key] = inner
            at = inner
        at[last] = value
    return config


def json_schema() -> dict[str, Any]:
    """The JSON schema of a training configuration."""
    return TrainConfig.model_json_schema()


def _refuse_full_stops(value: Any, path: str) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ConfigError(f"{path or 'the top level'}: a key must be text; received {key!r}")
            if "." in key and path.split(".")[-3:] != ["optimiser", "parts", ""]:
                head, _, tail = key.partition(".")
                raise ConfigError(
                    f"{path + key!r}: a key cannot hold a full stop; write {tail!r} as an entry inside "
                    f"{head!r} (only --set takes dotted paths)"
                )
            _refuse_full_stops(inner, f"{path}{key}.")
    elif isinstance(value, list):
        for k, inner in enumerate(value):
            _refuse_full_stops(inner, f"{path}{k}.")


def _explain(kind: type[BaseModel], detail: Any) -> str:
    location = [str(part) for part in detail["loc"]]
    path = ".".join(location) or "the top level"
    if detail["type"] == "extra_forbidden":
        valid = _keys_at(kind, detail["loc"][:-1])
        near = nearest(location[-1], valid)
        hint = f"did you mean {near[0]!r}?" if near else f"valid keys: {', '.join(valid)}"
        return f"{path}: unknown key (received {_short(detail['input'])}); {hint}"
    if detail["type"] == "missing":
        return f"{path}: required, but not given"
    message = detail["msg"].removeprefix("Value error, ")
    return f"{path}: {message[0].lower() + message[1:]} (received {_short(detail['input'])})"


def _keys_at(kind: type[BaseModel], location: Sequence[Any]) -> list[str]:
    """The valid keys of the section at ``location``."""
    at: Any = kind
    for part in location:
        field = getattr(at, "model_fields", {}).get(part)
        if field is None:
            continue  # an index, or the key of a mapping of models
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        at = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), at)
    return list(getattr(at, "model_fields", {}))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

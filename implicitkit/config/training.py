"""What ``implicitkit train`` reads: a model's spec and a training configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_serializer, field_validator, model_validator
from pydantic_core import PydanticCustomError

from implicitkit.config.sections import LossSpec, PartSpec, Strict
from implicitkit.errors import UnknownNameError


class ModelSpec(Strict):
    """The parts of an ``ImplicitModel``; the name of a registered model stands for its parts."""

    encoder: PartSpec = Field(description="name, or a mapping with name and arguments")
    decoder: PartSpec = Field(description="name, or a mapping with name and arguments")
    neck: list[PartSpec] = Field(
        default_factory=list, description="what refines the features between them: one name or mapping, or a list"
    )
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
        from implicitkit.registry.kinds import models, named_spec

        try:
            entry, first = models.find(value)
        except UnknownNameError as error:
            raise ValueError(str(error)) from None
        return named_spec(entry, *first)

    @field_validator("neck", mode="before")
    @classmethod
    def _one_or_many(cls, neck: Any) -> Any:
        return [neck] if isinstance(neck, str | Mapping) else neck

    @field_validator("scales")
    @classmethod
    def _low_to_high(cls, scales: tuple[float, float] | None) -> tuple[float, float] | None:
        if scales is not None and not 0 < scales[0] <= scales[1]:
            raise ValueError("scales are [lowest, highest]")
        return scales


class DataConfig(Strict):
    """Training pictures and their crops."""

    dataset: PartSpec | None = Field(
        None,
        description="of `implicitkit list datasets`: a name, or a mapping with name and arguments, in place of folders",
    )
    folders: list[Path] = Field(default_factory=list, description="folders of pictures, searched recursively")
    unreadable: Literal["error", "skip"] = Field(
        "error", description="what to do with a picture that cannot be read; skip: leave it out, and count it"
    )
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

    @field_validator("folders")
    @classmethod
    def _pictures_from_somewhere(cls, folders: list[Path], info: ValidationInfo) -> list[Path]:
        dataset = info.data.get("dataset")
        if not folders and dataset is None and "dataset" in info.data:
            raise PydanticCustomError("missing", "required, but not given")
        if folders and dataset is not None:
            raise ValueError(f"give folders or dataset ({dataset.name}), not both")
        return folders

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


def _canonical(kind: str, name: str) -> str:
    """A registered name as it was registered; an unknown one is an error that pydantic reports."""
    from implicitkit.registry import kinds

    try:
        canonical: str = getattr(kinds, kind).canonical(name)
    except UnknownNameError as error:
        raise ValueError(str(error)) from None
    return canonical


Fraction = Annotated[float, Field(ge=0, lt=1)]


PART_SETTINGS = ("lr", "weight_decay")
"""What an entry of ``optimiser.parts`` may set instead of a factor."""


class OptimiserConfig(Strict):
    """The optimiser, the learning rates of parts, and the schedule."""

    name: str = Field("adam", description="of `implicitkit list optimisers`: adam, adamw, sgd, timm:lamb, ...")
    options: dict[str, Any] = Field(
        default_factory=dict, description="further arguments of the optimiser, such as {momentum: 0.9}"
    )
    weight_decay: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="of tensors with two or more dimensions; null: the optimiser's own (adam 0, adamw 0.01)",
    )
    parts: dict[str, Any] = Field(
        default_factory=dict,
        description="factors on lr for parts of the model, {encoder: 0.1, conditions.semantic: 0.5}, or settings of "
        "their own, {decoder: {lr: 1e-3, weight_decay: 0}}; the longest matching name counts",
    )
    lr: float = Field(1e-4, gt=0, description="learning rate, before schedule and factors")
    betas: tuple[Fraction, Fraction] = Field((0.9, 0.999), description="momenta, of optimisers that have them")
    schedule: PartSpec = Field(
        default_factory=lambda: PartSpec(name="step"),
        description="of `implicitkit list schedules`: a name, or a mapping with name and arguments; step: multiply by "
        "gamma at each milestone",
    )
    warmup: int = Field(0, ge=0, description="steps of linear warm-up, before any schedule")
    milestones: list[float] = Field(default=[0.2, 0.4, 0.6, 0.8], description="of step: fractions of all steps")
    gamma: float = Field(0.5, gt=0, description="of step: the factor at each milestone")
    final_lr: float = Field(0.0, ge=0, description="where cosine, polynomial and exponential end")
    clip: float | None = Field(None, gt=0, description="largest gradient norm; null: any")

    @field_validator("name")
    @classmethod
    def _is_registered(cls, name: str) -> str:
        return _canonical("optimisers", name)

    @field_validator("schedule")
    @classmethod
    def _schedule_is_registered(cls, schedule: PartSpec) -> PartSpec:
        schedule.name = _canonical("schedules", schedule.name)
        return schedule

    @field_serializer("schedule")
    def _by_name(self, schedule: PartSpec) -> Any:
        """As it is written: a name, or a mapping where it has arguments."""
        return schedule.as_dict() if schedule.model_extra else schedule.name

    @field_validator("parts")
    @classmethod
    def _positive_factors(cls, parts: dict[str, Any]) -> dict[str, Any]:
        for part, value in parts.items():
            if isinstance(value, dict) and value and value.keys() <= set(PART_SETTINGS):
                for key, number in value.items():
                    least = "above 0" if key == "lr" else "of at least 0"
                    is_number = isinstance(number, int | float) and not isinstance(number, bool)
                    if not is_number or not (number > 0 if key == "lr" else number >= 0) or number == float("inf"):
                        raise ValueError(f"the {key} of {part} is a number {least}; received {number!r}")
            elif isinstance(value, dict):
                cls._positive_factors(value)
            elif isinstance(value, bool) or not (isinstance(value, int | float) and 0 < value < float("inf")):
                raise ValueError(f"the factor of {part} is a number above 0; received {value!r}")
        return parts


class ValidationConfig(Strict):
    """Validation while training."""

    folders: list[Path] = Field(default_factory=list, description="pictures to validate on, besides those held out")
    scales: list[float] = Field(
        default=[2, 3, 4], min_length=1, description="magnifications, if the degradation has a super_resolution step"
    )
    metrics: list[str | dict[str, Any]] = Field(
        default_factory=list, description="metrics to log besides PSNR-Y, such as [ssim, lpips]"
    )
    best: str = Field(
        "psnr", description="what best.safetensors is the best by: psnr (PSNR-Y), or the name of one of metrics"
    )
    every: int = Field(1000, ge=1, description="steps between validations")
    max_size: int = Field(512, ge=8, description="larger pictures are cropped to their centre")
    options: dict[str, Any] = Field(
        default_factory=dict, description="of the questions, such as {temperature: 0.8}; see the decoder's options"
    )

    @field_validator("scales")
    @classmethod
    def _at_least_one(cls, scales: list[float]) -> list[float]:
        if any(s < 1 for s in scales):
            raise ValueError("scales are at least 1")
        return scales


BASE = "another training configuration, beside this file, whose entries hold where this one has none"


class TrainConfig(Strict):
    """A whole training run."""

    model: ModelSpec
    data: DataConfig
    degradation: list[PartSpec] = Field(
        default_factory=list, description="one, or several applied in order; none if data.dataset holds pairs"
    )
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
    callbacks: list[PartSpec] = Field(
        default_factory=list, description="of `implicitkit list callbacks`, such as early_stopping; one or several"
    )
    loggers: list[Literal["tensorboard", "wandb", "mlflow"]] = Field(
        default=["tensorboard"],
        description="who is told numbers and pictures beside log.jsonl; one or several, or [] for none",
    )
    output: Path = Field(description="run directory; must be new, or resumed")
    steps: int = Field(ge=1, description="optimiser steps")
    batch: int = Field(16, ge=1, description="crops per step, over all processes")
    accumulate: int = Field(1, ge=1, description="parts of a batch that run one after the other, to save memory")
    ema: float | None = Field(
        None, gt=0, lt=1, description="decay of the moving average of the weights, which is validated and saved"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of everything random")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="of the networks' arithmetic; weights stay float32"
    )
    compile: bool = Field(False, description="torch.compile the encoder")
    log_every: int = Field(50, ge=1, description="steps between lines of the log")
    checkpoint_every: int = Field(1000, ge=1, description="steps between checkpoints")
    keep_checkpoints: int = Field(2, ge=1, description="newest checkpoints that stay")
    license: str = Field("", description="terms of the trained weights, written into their files")
    trained_on: str = Field("", description="the training data, written into the files")

    @field_validator("degradation", "loss", "callbacks", "loggers", mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, value: Any) -> Any:
        return value if isinstance(value, list) else [value]

    @field_validator("degradation")
    @classmethod
    def _makes_inputs(cls, degradation: list[PartSpec], info: ValidationInfo) -> list[PartSpec]:
        data = info.data.get("data")
        if not degradation and data is not None and data.dataset is None:
            raise PydanticCustomError("missing", "required, but not given")
        return degradation

    @property
    def degradation_spec(self) -> Any:
        """The argument of ``create_degradation``: one spec, or a list of several."""
        specs = [part.as_dict() for part in self.degradation]
        return specs[0] if len(specs) == 1 else specs


def json_schema() -> dict[str, Any]:
    """The JSON schema of a training configuration; ``base`` is what :mod:`implicitkit.config.inheritance` reads."""
    schema = TrainConfig.model_json_schema()
    schema["properties"] = {"base": {"description": BASE, "type": "string"}, **schema["properties"]}
    return schema

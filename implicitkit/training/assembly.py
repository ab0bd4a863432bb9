"""What a run is made of, put together and tried before its first step, so that no mistake is found hours later."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import nn

from implicitkit.config import TrainConfig, naming
from implicitkit.create import build_model, create_dataset, create_degradation, load_model
from implicitkit.create.memory import to_train
from implicitkit.datasets.base import Dataset, Files, Part
from implicitkit.datasets.folders import Folders
from implicitkit.errors import ConfigError, UserError, first_line
from implicitkit.images.filling import check_fill, trained_fill
from implicitkit.images.folders import picture_files
from implicitkit.losses import WeightedLoss
from implicitkit.model import ImplicitModel
from implicitkit.training.data import TrainingCrops, collate, hold_out
from implicitkit.training.memory import check_memory
from implicitkit.training.validation import Validator
from implicitkit.weights.native import fill

GIVEN_DATA = "given"
"""The dataset's name in the configuration of a run whose dataset was given in Python."""


@dataclass
class Assembly:
    """The parts of a run: crops, model and losses on the device, and what validates."""

    model: ImplicitModel
    losses: WeightedLoss
    crops: TrainingCrops
    validator: Validator


def assemble(config: TrainConfig, device: torch.device, dataset: Dataset | None = None, processes: int = 1) -> Assembly:
    """Put a run's parts together, and evaluate model and losses on one crop.

    Args:
        config: the whole run.
        device: where it is trained.
        dataset: the pictures, in place of the configured ones.
        processes: that share a batch.

    Raises:
        UserError: a part does not exist, does not fit the others, or a picture is unusable.
    """
    pictures = open_dataset(config, dataset)
    if not config.degradation and not pictures.paired:
        raise ConfigError("degradation: required, as data.dataset holds clean pictures alone, no pairs")
    with naming("degradation"):
        degradation = create_degradation(config.degradation_spec) if config.degradation else None
    trained, held_out = hold_out(range(len(pictures)), config.data.held_out)
    with naming("loss"):
        losses = WeightedLoss([term.as_dict() for term in config.loss])
        if losses.wants_window and config.data.points != "window":
            raise ConfigError(
                f"{' and '.join(losses.wants_window)}: a loss of pictures, but data.points is {config.data.points}; "
                "set data.points: window"
            )
    others = Files(picture_files(config.validation.folders))
    validator = Validator([Part(pictures, held_out), others], config, losses)
    trained = [k for k in trained if (f := pictures.file(k)) is None or f.resolve() not in validator.resolved]
    length = config.steps * config.batch
    crops = TrainingCrops(
        Part(pictures, trained), config.data, degradation, config.seed, length, losses.wants_reference
    )
    with to_train():
        model = build_model(config.model)
    with naming("validation.options"):
        model.decoder.check_options(config.validation.options)
    if model.takes_mask and model.fill is None:
        model.fill = check_fill(trained_fill([part.as_dict() for part in config.degradation]))
    if config.weights:
        with naming("weights"):
            start_from(model, config.weights)
    model = model.to(device).train()
    with naming("loss"):
        losses.attach(model)
    check_memory(model, config, crops.largest, device, processes)
    rehearse(model, losses, send_to_device(collate([crops[0]]), device))
    return Assembly(model, losses, crops, validator)


def open_dataset(config: TrainConfig, given: Dataset | None = None) -> Dataset:
    """The dataset of a configuration, or the ``given`` one.

    Raises:
        UserError: it cannot be made, or is to be given.
    """
    if given is not None:
        return given
    spec = config.data.dataset
    if spec is None:
        return Folders(config.data.folders)
    if spec.name == GIVEN_DATA:
        raise UserError("this run's dataset was given in Python; pass it again: ik.train(config, dataset=...)")
    with naming("data.dataset"):
        return create_dataset(spec.as_dict())


def start_from(model: ImplicitModel, weights: str | Mapping[str, Any], part: str = "") -> None:
    """Load initial weights into a model, or into the parts in a mapping (``{"conditions": {"semantic": FILE}}``)."""
    if isinstance(weights, Mapping):
        for name, inner in weights.items():
            start_from(model, inner, f"{part}.{name}".removeprefix("."))
        return
    try:
        target = model.get_submodule(part)
    except AttributeError:
        raise ConfigError(f"{part}: the model has no such part; name its encoder, decoder or conditions") from None
    if not isinstance(weights, str):
        raise ConfigError(f"{part}: the name of a file or model; received {weights!r}")
    loaded: nn.Module = load_model(weights)
    if not isinstance(target, ImplicitModel):  # an encoder or a decoder: that of the model in the file
        loaded = loaded.get_submodule(part.rpartition(".")[2])
    fill(target, loaded.state_dict(), weights)


def rehearse(model: ImplicitModel, losses: WeightedLoss, batch: Mapping[str, Any]) -> None:
    """Evaluate model and losses on one crop, backwards too, to find what does not fit before training.

    Raises:
        ConfigError: a loss fails, is not finite, or gives the model no gradient.
    """
    weights = [p for p in model.parameters() if p.requires_grad]
    if not weights:
        raise ConfigError("model: nothing to train; every part of it is frozen (trainable: false)")
    model.eval()
    mask = batch["mask"] if model.takes_mask else None
    prediction = model(batch["image"], batch["coords"], batch["cell"], mask, losses.reads)
    with naming("loss"):
        try:
            each = losses.each(prediction, batch)
        except (UserError, TypeError, ValueError, LookupError, KeyboardInterrupt):
            raise
        except BaseException as error:  # of a plugin's loss
            raise ConfigError(f"{type(error).__name__}: {first_line(error)}") from error
        for label, value in each.items():
            if not bool(value.isfinite()):
                raise ConfigError(f"{label} is {value.item()} for the first crop, before any training")
        total = losses.sum(each)
        gradients = torch.autograd.grad(total, weights, allow_unused=True) if total.requires_grad else ()
        if all(gradient is None for gradient in gradients):
            raise ConfigError(
                f"{' + '.join(each)} gives the model no gradient; compute it from prediction.values, without detach() "
                "or no_grad()"
            )
    model.train()


def may_leave_unused(model: ImplicitModel, names: Collection[str] | None) -> bool:
    """Whether the loss may not reach all trainable parameters: the decoder may skip some, or a condition is neither in
    ``names`` (None: all) nor read by the decoder. Processes must not wait for those gradients.
    """
    if model.decoder.skips_parts:
        return True
    for name, condition in model.conditions.items():
        trainable = any(p.requires_grad for p in condition.parameters())
        if trainable and names is not None and name not in {*names, *model.decoder.read_conditions}:
            return True
        if may_leave_unused(condition, ()):
            return True
    return False

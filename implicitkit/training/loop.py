"""The training loop; read it from top to bottom.

    implicitkit train configs/liif_small.yaml
    implicitkit train configs/liif_small.yaml --resume
    accelerate launch -m implicitkit train configs/liif_small.yaml      # several processes, GPUs, machines

A run directory holds ``config.yaml``, ``log.jsonl``, TensorBoard events, ``images/``, ``checkpoints/step-N/``,
``best.safetensors`` and ``last.safetensors``. Writes are atomic, so a run killed at any moment resumes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedDataParallelKwargs, send_to_device, set_seed
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from implicitkit.config import TrainConfig, naming
from implicitkit.create import build_model, create_degradation, load_model
from implicitkit.create.memory import to_train
from implicitkit.degradations.base import seeded
from implicitkit.errors import ConfigError, UserError, first_line
from implicitkit.field.field import Prediction
from implicitkit.images.filling import check_fill, trained_fill
from implicitkit.images.folders import picture_files
from implicitkit.losses import WeightedLoss
from implicitkit.model import ImplicitModel
from implicitkit.training.averaging import Average
from implicitkit.training.data import TrainingCrops, collate, hold_out
from implicitkit.training.memory import check_memory
from implicitkit.training.optimiser import build_optimiser, set_rate
from implicitkit.training.processes import join
from implicitkit.training.runs import Report, Run
from implicitkit.training.schedule import learning_rate
from implicitkit.training.validation import Validator
from implicitkit.weights.native import fill


class StepBatches(Sampler[list[int]]):
    """The crops of each step for one process: step ``t`` is crops ``t * batch`` to ``(t + 1) * batch``, split by rank.

    >>> list(StepBatches(start=1, steps=3, batch=4, rank=1, processes=2))
    [[6, 7], [10, 11]]
    """

    def __init__(self, start: int, steps: int, batch: int, rank: int, processes: int) -> None:
        self.start, self.steps, self.batch = start, steps, batch
        self.mine = range(rank * batch // processes, (rank + 1) * batch // processes)

    def __len__(self) -> int:
        return self.steps - self.start

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.steps):
            yield [step * self.batch + k for k in self.mine]


def train(config: TrainConfig, *, resume: bool = False, report: Report | None = None) -> Path:
    """Train by ``config`` and return the run directory.

    Args:
        config: the whole run.
        resume: continue the run in ``config.output`` from its last checkpoint; otherwise that directory must not exist.
        report: called with a dict at every log step and validation.

    Raises:
        UserError: the directory is taken, the configuration differs from the resumed one, a picture is unusable, or
            the loss is not finite.
    """
    distributed = DistributedDataParallelKwargs()
    accelerator = join(config.precision, [distributed])
    processes = accelerator.num_processes
    if config.batch % (processes * config.accumulate):
        parts = f" in {config.accumulate} parts (accumulate)" if config.accumulate > 1 else ""
        raise ConfigError(
            f"batch: {config.batch} crops cannot be shared by {processes} processes{parts}; use a multiple"
        )
    with Run(config, accelerator, resume) as run:
        return _train(config, run, distributed, report)


def _train(config: TrainConfig, run: Run, distributed: DistributedDataParallelKwargs, report: Report | None) -> Path:
    accelerator = run.accelerator
    device, rank, processes = accelerator.device, accelerator.process_index, accelerator.num_processes
    set_seed(config.seed)

    # Find all mistakes before making the run directory.
    with naming("degradation"):
        degradation = create_degradation(config.degradation_spec)
    files, held_out = hold_out(picture_files(config.data.folders), config.data.held_out)
    with naming("loss"):
        losses = WeightedLoss([term.as_dict() for term in config.loss])
        if losses.wants_window and config.data.points != "window":
            raise ConfigError(
                f"{' and '.join(losses.wants_window)}: a loss of pictures, but data.points is {config.data.points}; "
                "set data.points: window"
            )
    validator = Validator([*held_out, *picture_files(config.validation.folders)], config, losses)
    files = [file for file in files if file.resolve() not in validator.resolved]
    length = config.steps * config.batch
    crops = TrainingCrops(files, config.data, degradation, config.seed, length, losses.wants_reference)
    run.whole = crops.whole
    with to_train():
        model = build_model(config.model)
    if model.takes_mask and model.fill is None:
        model.fill = check_fill(trained_fill([part.as_dict() for part in config.degradation]))
    if config.weights:
        with naming("weights"):
            start_from(model, config.weights)
    model = model.to(device).train()
    with naming("loss"):
        losses.attach(model)
    condition_names = losses.reads
    distributed.find_unused_parameters = may_leave_unused(model, condition_names)
    check_memory(model, config, crops.largest, device, processes)
    rehearse(model, losses, send_to_device(collate([crops[0]]), device))
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = build_optimiser(model, config.optimiser)
    average = Average(model, config.ema)
    if config.compile:
        model.encoder.compile()
    wrapped, optimiser = accelerator.prepare(model, optimiser)

    run.open()
    if config.ema:
        run.keep("average", average)
    for name, term in losses.learning.items():
        run.keep(f"loss_{name}", term)
    start = run.restore()
    if start > config.steps:
        raise UserError(f"the run in {config.output} has done {start} steps already; steps is {config.steps}")
    batches = DataLoader(
        crops,
        batch_sampler=StepBatches(start, config.steps, config.batch, rank, processes),
        num_workers=config.data.workers,
        pin_memory=device.type == "cuda",
        persistent_workers=config.data.workers > 0,
        collate_fn=collate,
    )
    parameter_count = sum(p.numel() for p in parameters)
    where = {
        "device": "cpu" if device.type == "cpu" else str(device),
        "precision": config.precision,
        "processes": processes,
    }
    where |= {"crops_per_process": config.batch // processes}
    counts = {"pictures": len(crops.usable), "dropped": crops.dropped, "parameters": parameter_count}
    run.say({"event": "start", "step": start, **where, **counts}, report)

    zeros = torch.zeros(1 + len(losses.terms), device=device)  # the sum, then each term
    clock, steps_timed, totals = time.monotonic(), 0, zeros
    for step, batch in enumerate(batches, start=start):
        torch.manual_seed(seeded(config.seed, step, rank).initial_seed())  # for dropout
        batch = send_to_device(batch, device, non_blocking=True)
        rate = learning_rate(step, config.steps, config.optimiser)
        set_rate(optimiser, rate)
        losses.begin(step)

        for k, part in enumerate(parts_of(batch, config.accumulate), start=1):
            more_parts = k < config.accumulate  # average gradients over processes once, after the last part
            with accelerator.no_sync(wrapped) if more_parts else nullcontext():
                mask = part["mask"] if model.takes_mask else None
                prediction: Prediction = wrapped(part["image"], part["coords"], part["cell"], mask, condition_names)
                each = losses.each(prediction, part)
                loss = losses.sum(each)
                accelerator.backward(loss / config.accumulate)
            totals = totals + torch.stack([loss, *each.values()]).detach() / config.accumulate
        run.between = None  # within a step nothing can be kept
        if config.optimiser.clip:
            accelerator.clip_grad_norm_(parameters, config.optimiser.clip)
        optimiser.step()
        optimiser.zero_grad()
        average.update()
        if step == start and not bool(totals[0].isfinite()):
            raise UserError(
                f"the loss is {float(totals[0])} at the first step; lower optimiser.lr, or look at the loss"
            )
        losses.learn(lambda tensor: accelerator.reduce(tensor, "mean"))
        run.between = (step + 1, model)
        steps_timed += 1

        done = step + 1
        last = done == config.steps
        if done % config.log_every == 0 or last:
            mean_loss, *means = (accelerator.gather(totals[None]).mean(0) / steps_timed).tolist()
            if not math.isfinite(mean_loss):
                raise UserError(
                    f"the loss is {mean_loss} near step {done}; lower optimiser.lr or set optimiser.clip, then --resume"
                )
            speed = steps_timed * config.batch / (time.monotonic() - clock)
            seconds_left = (config.steps - done) * config.batch / speed
            terms = {f"loss_{name}": mean for name, mean in zip(each, means, strict=True)} if len(each) > 1 else {}
            terms |= losses.notes()
            progress = {"loss": mean_loss, **terms, "lr": rate, "crops_per_s": speed, "seconds_left": seconds_left}
            run.say({"event": "train", "step": done, **progress}, report)
            clock, steps_timed, totals = time.monotonic(), 0, zeros
        if validator and (done % config.validation.every == 0 or last):
            paused = time.monotonic()
            if accelerator.is_main_process:
                with average.shown():
                    model.eval()
                    validation = validator(model)
                    model.train()
                    run.validated(done, model, validation, report)
            accelerator.wait_for_everyone()
            clock += time.monotonic() - paused
        if done % config.checkpoint_every == 0 or last:
            run.checkpoint(done, model)

    if accelerator.is_main_process:
        with average.shown():
            run.save(model, "last.safetensors", config.steps)
    return config.output


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


def parts_of(batch: Mapping[str, Any], count: int) -> Iterator[dict[str, Any]]:
    """Split a batch into ``count`` parts of equal size.

    >>> [part["image"].tolist() for part in parts_of({"image": torch.arange(4), "reference": [0, 1, 2, 3]}, 2)]
    [[0, 1], [2, 3]]
    """
    size = len(batch["image"]) // count
    for k in range(count):
        mine = slice(k * size, (k + 1) * size)
        yield {key: value[mine] if isinstance(value, Tensor | list) else value for key, value in batch.items()}


def may_leave_unused(model: ImplicitModel, names: Collection[str] | None) -> bool:
    """Whether the loss may not reach a trainable condition: one that is neither in ``names`` (None: all) nor queried by
    the decoder. Processes must not wait for its gradient.
    """
    for name, condition in model.conditions.items():
        trainable = any(p.requires_grad for p in condition.parameters())
        if trainable and names is not None and name not in {*names, *model.decoder.queried}:
            return True
        if may_leave_unused(condition, ()):
            return True
    return False

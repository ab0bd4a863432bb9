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
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, send_to_device, set_seed
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from implicitkit.config import TrainConfig
from implicitkit.datasets.base import Dataset
from implicitkit.degradations.base import seeded
from implicitkit.errors import ConfigError, UserError
from implicitkit.field.field import Prediction
from implicitkit.training.assembly import assemble, may_leave_unused
from implicitkit.training.callbacks import Callbacks, Followers, TrainingState, listed
from implicitkit.training.data import collate
from implicitkit.training.loggers import check_loggers
from implicitkit.training.optimisation.averaging import Average
from implicitkit.training.optimisation.optimiser import build_optimiser, set_rate
from implicitkit.training.optimisation.schedule import build_schedule
from implicitkit.training.processes import join
from implicitkit.training.runs import Report, Run


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


def train(
    config: TrainConfig,
    *,
    resume: bool = False,
    report: Report | None = None,
    callbacks: Followers = (),
    dataset: Dataset | None = None,
    device: str = "auto",
) -> Path:
    """Train by ``config`` and return the run directory; :func:`implicitkit.train` takes files and dicts as well.

    Args:
        config: the whole run.
        resume: continue the run in ``config.output`` from its last checkpoint; otherwise that directory must not exist.
        report: called with a dict at every log step and validation.
        callbacks: :class:`~implicitkit.training.callbacks.Callback`, or names and specs, behind those of ``config``.
        dataset: the pictures, in place of the configured ones.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        UserError: the directory is taken, the configuration differs from the resumed one, a picture is unusable, or
            the loss is not finite.
    """
    distributed = DistributedDataParallelKwargs()
    accelerator = join(config.precision, [distributed], device=device)
    processes = accelerator.num_processes
    if config.batch % (processes * config.accumulate):
        parts = f" in {config.accumulate} parts (accumulate)" if config.accumulate > 1 else ""
        raise ConfigError(
            f"batch: {config.batch} crops cannot be shared by {processes} processes{parts}; use a multiple"
        )
    with Run(config, accelerator, resume) as run:
        return _train(config, run, distributed, report, callbacks, dataset)


def _train(
    config: TrainConfig,
    run: Run,
    distributed: DistributedDataParallelKwargs,
    report: Report | None,
    callbacks: Followers,
    dataset: Dataset | None,
) -> Path:
    accelerator = run.accelerator
    device, rank, processes = accelerator.device, accelerator.process_index, accelerator.num_processes
    set_seed(config.seed)

    # Find all mistakes before making the run directory.
    check_loggers(config.loggers)
    followers = Callbacks([*(spec.as_dict() for spec in config.callbacks), *listed(callbacks)])
    schedule = build_schedule(config.optimiser)
    parts = assemble(config, device, dataset, processes)
    model, losses, crops, validator = parts.model, parts.losses, parts.crops, parts.validator
    run.whole = crops.whole
    condition_names = losses.reads
    distributed.find_unused_parameters = may_leave_unused(model, condition_names)
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
    for name, callback in followers.remembering().items():
        run.keep(f"callback_{name}", callback)
    start = done = run.restore()
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
    if crops.unreadable:
        counts["unreadable"] = len(crops.unreadable)
    state = TrainingState(config, model, optimiser, device, start, start, is_main_process=accelerator.is_main_process)

    def say(entry: dict[str, Any]) -> None:
        run.say(entry, report)
        if accelerator.is_main_process:
            followers.log(state, entry)

    state.writes = say
    say({"event": "start", "step": start, **where, **counts})
    followers.start(state)
    stopped = agreed(state.stopping, accelerator)

    zeros = torch.zeros(1 + len(losses.terms), device=device)  # the sum, then each term
    clock, steps_timed, totals = time.monotonic(), 0, zeros
    for step, batch in enumerate(() if stopped else batches, start=start):
        torch.manual_seed(seeded(config.seed, step, rank).initial_seed())  # for dropout
        batch = send_to_device(batch, device, non_blocking=True)
        rate = schedule(step, config.steps, config.optimiser.lr)
        set_rate(optimiser, rate, config.optimiser.lr)
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
        state.step, state.lr, state.loss = done, rate, loss.detach()
        followers.step(state)
        validates = bool(validator) and done % config.validation.every == 0
        if processes == 1 or done % config.log_every == 0:  # at a step that all processes share
            stopped = agreed(state.stopping, accelerator)
        last = done == config.steps or bool(stopped)
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
            say({"event": "train", "step": done, **progress})
            clock, steps_timed, totals = time.monotonic(), 0, zeros
        if validates or (validator and last):
            paused = time.monotonic()
            if accelerator.is_main_process:
                with average.shown():
                    model.eval()
                    validation = validator(model)
                    run.validated(done, model, validation, say)
                    followers.validation(state, validation)
                    model.train()
            accelerator.wait_for_everyone()
            stopped = agreed(state.stopping, accelerator)
            last = last or bool(stopped)
            clock += time.monotonic() - paused
        if done % config.checkpoint_every == 0 or last:
            run.checkpoint(done, model)
            followers.checkpoint(state)
        if last:
            break

    if accelerator.is_main_process:
        with average.shown():
            run.save(model, "last.safetensors", done)
    if stopped:
        say({"event": "end", "step": done, "reason": stopped})
    followers.end(state)
    return config.output


def agreed(reason: str, accelerator: Accelerator) -> str:
    """Why the training ends, if any process says so; all processes call it at the same step."""
    if accelerator.num_processes == 1:
        return reason
    flag = torch.tensor([float(bool(reason))], device=accelerator.device)
    return reason or ("another process stopped it" if bool(accelerator.gather(flag).any()) else "")


def parts_of(batch: Mapping[str, Any], count: int) -> Iterator[dict[str, Any]]:
    """Split a batch into ``count`` parts of equal size.

    >>> [part["image"].tolist() for part in parts_of({"image": torch.arange(4), "reference": [0, 1, 2, 3]}, 2)]
    [[0, 1], [2, 3]]
    """
    size = len(batch["image"]) // count
    for k in range(count):
        mine = slice(k * size, (k + 1) * size)
        yield {key: value[mine] if isinstance(value, Tensor | list) else value for key, value in batch.items()}

"""The training loop, to be read from top to bottom.

    implicitkit train configs/liif_small.yaml
    implicitkit train configs/liif_small.yaml --resume
    accelerate launch -m implicitkit train configs/liif_small.yaml      # several processes, GPUs, machines

A run directory holds ``config.yaml``, ``log.jsonl``, TensorBoard events, ``images/``, ``checkpoints/step-N/``,
``best.safetensors`` and ``last.safetensors``. Everything in it is written to a temporary name and renamed, so a run
killed at any moment resumes.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import Accelerator
from accelerate.utils import set_seed
from safetensors import SafetensorError
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from implicitkit.atomic import write_text
from implicitkit.config import TrainConfig, load_yaml, validate
from implicitkit.data import TrainingCrops, hold_out, picture_files
from implicitkit.degradations.base import seeded
from implicitkit.errors import ConfigError, UserError
from implicitkit.field import Prediction
from implicitkit.images import write_image
from implicitkit.model import ImplicitModel, build_model
from implicitkit.registries import create_degradation, losses, parse_part
from implicitkit.schedule import learning_rate
from implicitkit.validation import Validator

MIXED = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
Report = Callable[[dict[str, Any]], None]


class StepBatches(Sampler[list[int]]):
    """The crops of each step for one process: step ``t`` is crops ``t * batch`` to ``(t + 1) * batch``, shared out by
    rank.
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
    """Train as ``config`` says and return the run directory.

    Args:
        config: the whole run.
        resume: continue the run in ``config.output`` from its last checkpoint; otherwise that directory must not exist.
        report: called with a dict at every log step and validation.

    Raises:
        UserError: the directory is taken, the configuration differs from the one being resumed, or the loss is no
            longer finite.
    """
    accelerator = Accelerator(mixed_precision=MIXED[config.precision])
    if config.batch % accelerator.num_processes:
        raise ConfigError(
            f"batch: {config.batch} crops cannot be shared by {accelerator.num_processes} processes; use a multiple"
        )
    run = Run(config, accelerator, resume)
    set_seed(config.seed)

    degradation_spec = (
        [p.as_dict() for p in config.degradation]
        if isinstance(config.degradation, list)
        else config.degradation.as_dict()
    )
    files, held_out = hold_out(picture_files(config.data.folders), config.data.held_out)
    crops = TrainingCrops(
        files, config.data, create_degradation(degradation_spec), config.seed, config.steps * config.batch
    )
    validator = Validator([*held_out, *picture_files(config.validation.folders)], degradation_spec, config.validation)

    model = build_model(config.model).to(accelerator.device).train()
    loss_name, loss_arguments = parse_part(config.loss.as_dict(), "loss")
    loss_of = losses.create(loss_name, **loss_arguments)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=config.optimiser.lr, betas=config.optimiser.betas)
    if config.compile:
        model.encoder.compile()
    wrapped, optimiser = accelerator.prepare(model, optimiser)
    run.open()
    start = run.restore()
    if start > config.steps:
        raise UserError(f"the run in {config.output} has done {start} steps already; steps is {config.steps}")

    batches = DataLoader(
        crops,
        batch_sampler=StepBatches(
            start, config.steps, config.batch, accelerator.process_index, accelerator.num_processes
        ),
        num_workers=config.data.workers,
        pin_memory=accelerator.device.type == "cuda",
        persistent_workers=config.data.workers > 0,
    )
    run.say(
        {
            "event": "start",
            "step": start,
            "pictures": len(crops.kept),
            "dropped": crops.dropped,
            "parameters": count(parameters),
        },
        report,
    )
    clock, seen, total_loss = time.monotonic(), 0, torch.zeros((), device=accelerator.device)
    for step, batch in enumerate(batches, start=start):
        torch.manual_seed(
            seeded(config.seed, step, accelerator.process_index).initial_seed()
        )  # for dropout and the like
        batch = {key: value.to(accelerator.device, non_blocking=True) for key, value in batch.items()}
        rate = learning_rate(step, config.steps, config.optimiser)
        for group in optimiser.param_groups:
            group["lr"] = rate
        mask = batch["mask"] if model.takes_mask else None
        prediction: Prediction = wrapped(batch["image"], batch["coords"], batch["cell"], mask)
        loss: Tensor = loss_of(prediction, batch)
        accelerator.backward(loss)
        if config.optimiser.clip:
            accelerator.clip_grad_norm_(parameters, config.optimiser.clip)
        optimiser.step()
        optimiser.zero_grad()
        total_loss += loss.detach()
        seen += 1

        done = step + 1
        if done % config.log_every == 0 or done == config.steps:
            mean_loss = float(accelerator.gather(total_loss[None]).mean()) / seen
            elapsed = time.monotonic() - clock
            if not math.isfinite(mean_loss):
                raise UserError(
                    f"the loss is {mean_loss} near step {done}; lower optimiser.lr or set optimiser.clip, then --resume"
                )
            speed = seen * config.batch / elapsed
            left = (config.steps - done) * config.batch / speed
            run.say(
                {
                    "event": "train",
                    "step": done,
                    "loss": mean_loss,
                    "lr": rate,
                    "crops_per_s": speed,
                    "seconds_left": left,
                },
                report,
            )
            clock, seen, total_loss = time.monotonic(), 0, torch.zeros_like(total_loss)
        if validator and (done % config.validation.every == 0 or done == config.steps):
            paused = time.monotonic()
            if accelerator.is_main_process:
                model.eval()
                scores, picture = validator(model)
                model.train()
                run.validated(done, model, scores, picture, report)
            accelerator.wait_for_everyone()
            clock += time.monotonic() - paused
        if done % config.checkpoint_every == 0 or done == config.steps:
            run.checkpoint(done)
    if accelerator.is_main_process:
        run.save(model, "last.safetensors", config.steps)
    run.close()
    return config.output


def count(parameters: Sequence[Tensor]) -> int:
    """How many numbers they hold."""
    return sum(p.numel() for p in parameters)


# Settings that do not change what a step computes, and so may differ on resuming.
FREE_ON_RESUME = (
    "output",
    "validation",
    "log_every",
    "checkpoint_every",
    "keep_checkpoints",
    "steps",
    "license",
    "trained_on",
)
FREE_DATA = ("workers", "cache")


class Run:
    """A run directory: its configuration, log, checkpoints and weights."""

    def __init__(self, config: TrainConfig, accelerator: Accelerator, resume: bool) -> None:
        self.config, self.accelerator, self.folder = config, accelerator, config.output
        self.best = -math.inf
        self._writer: Any = None
        exists = self.folder.exists() and any(self.folder.iterdir())
        if exists and not resume:
            raise UserError(f"{self.folder} already holds a run; continue it with --resume or choose another output")
        if resume and not (self.folder / "config.yaml").is_file():
            raise UserError(f"there is no run to resume in {self.folder}")
        if resume:
            self._check_same()

    def open(self) -> None:
        """Create the directory; called when everything that can be wrong with the configuration has been found."""
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            (self.folder / "checkpoints").mkdir(parents=True, exist_ok=True)
            for leftover in (self.folder / "checkpoints").glob(".*.part"):
                shutil.rmtree(leftover)
            text = yaml.safe_dump(self.config.model_dump(mode="json"), sort_keys=False)
            write_text(self.folder / "config.yaml", text)
        self.accelerator.wait_for_everyone()

    def restore(self) -> int:
        """Load the newest checkpoint, if there is one, and return the number of steps done."""
        found = self._checkpoints()
        if not found:
            self._trim_log(0)
            return 0
        step, folder = found[-1]
        self.accelerator.load_state(str(folder))
        self.best = json.loads((folder / "run.json").read_text())["best"]
        self._trim_log(step)
        return step

    def checkpoint(self, step: int) -> None:
        """Write ``checkpoints/step-N`` whole or not at all, then drop the oldest."""
        target = self.folder / "checkpoints" / f"step-{step}"
        temporary = target.with_name(f".{target.name}.part")  # one name for all processes
        try:
            self.accelerator.save_state(str(temporary))
        except (OSError, RuntimeError, SafetensorError) as error:  # each writer has its own word for a full disk
            shutil.rmtree(temporary, ignore_errors=True)
            raise UserError(
                f"cannot write {target} (is the disk full?): {error}; what was written before is whole, continue with --resume"
            ) from error
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            write_text(temporary / "run.json", json.dumps({"step": step, "best": self.best}))
            temporary.rename(target)
            for _, old in self._checkpoints()[: -self.config.keep_checkpoints]:
                shutil.rmtree(old)
        self.accelerator.wait_for_everyone()

    def validated(
        self, step: int, model: ImplicitModel, scores: dict[str, float], picture: Tensor, report: Report | None
    ) -> None:
        """Log a validation, keep its picture, and the weights if they are the best so far."""
        score = sum(scores.values()) / len(scores)
        self.say(
            {"event": "validation", "step": step, "psnr": score, **{f"psnr_{k}": v for k, v in scores.items()}}, report
        )
        (self.folder / "images").mkdir(exist_ok=True)
        write_image(self.folder / "images" / f"step-{step}.png", picture)
        self._tensorboard().add_image("validation", picture, step)
        if score > self.best:
            self.best = score
            self.save(model, "best.safetensors", step, scores)

    def save(self, model: ImplicitModel, name: str, step: int, scores: dict[str, float] | None = None) -> None:
        """Write the model as a native file with a summary of its training."""
        model.training_summary = {
            "steps": step,
            "batch": self.config.batch,
            "seed": self.config.seed,
            "trained_on": self.config.trained_on,
            "degradation": json.loads(self.config.model_dump_json())["degradation"],
            **({"validation_psnr_y": scores} if scores else {}),
        }
        model.save(self.folder / name, license=self.config.license)

    def say(self, entry: dict[str, Any], report: Report | None) -> None:
        """One line of ``log.jsonl``, TensorBoard scalars, and the caller's report."""
        if not self.accelerator.is_main_process:
            return
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps({**entry, "time": time.time()}) + "\n")
        if entry["event"] != "start":
            for key, value in entry.items():
                if key not in ("event", "step", "seconds_left"):
                    self._tensorboard().add_scalar(f"{entry['event']}/{key}", value, entry["step"])
        if report is not None:
            report(entry)

    def close(self) -> None:
        """Flush what is buffered and leave the process group."""
        if self._writer is not None:
            self._writer.close()
        self.accelerator.end_training()

    def _tensorboard(self) -> Any:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder))
        return self._writer

    def _checkpoints(self) -> list[tuple[int, Path]]:
        found = [(int(p.name.removeprefix("step-")), p) for p in (self.folder / "checkpoints").glob("step-*")]
        return sorted(found)

    def _trim_log(self, step: int) -> None:
        """Forget what was logged after the checkpoint: those steps are done again."""
        log = self.folder / "log.jsonl"
        if self.accelerator.is_main_process and log.exists():
            kept = []
            for line in log.read_text(encoding="utf-8").splitlines():
                try:
                    if json.loads(line)["step"] <= step:
                        kept.append(line + "\n")
                except (json.JSONDecodeError, KeyError):
                    continue  # the line that was being written when the run was killed
            write_text(log, "".join(kept))

    def _check_same(self) -> None:
        stored = validate(TrainConfig, load_yaml(self.folder / "config.yaml"), str(self.folder / "config.yaml"))
        old, new = (_what_counts(c) for c in (stored, self.config))
        changed = [key for key in new if old.get(key) != new[key]]
        if changed:
            raise UserError(
                f"the run in {self.folder} was started with another {' and '.join(changed)}; resume it "
                "with its own config.yaml"
            )


def _what_counts(config: TrainConfig) -> dict[str, Any]:
    dumped = config.model_dump(mode="json", exclude=set(FREE_ON_RESUME))
    dumped["data"] = {key: value for key, value in dumped["data"].items() if key not in FREE_DATA}
    return dumped

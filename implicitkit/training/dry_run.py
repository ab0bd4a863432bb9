"""Describe a run without starting it: sizes, an estimate of memory, and the first batch as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn

from implicitkit.config import TrainConfig
from implicitkit.datasets.base import Dataset
from implicitkit.devices import choose_device
from implicitkit.images.io import to_pixels
from implicitkit.images.sheets import save_figure, sheet
from implicitkit.training.assembly import Assembly, assemble
from implicitkit.training.data import Sample, TrainingCrops, collate
from implicitkit.training.memory import graph_bytes
from implicitkit.training.optimisation.optimiser import build_optimiser
from implicitkit.training.optimisation.schedule import build_schedule

MAX_SHOWN = 4  # crops on the picture
STATES = 2  # tensors that an optimiser such as Adam keeps for each weight


@dataclass(frozen=True)
class DryRun:
    """What a run would be.

    Attributes:
        parameters: of each part of the model: name -> (all, those that are trained).
        pictures: that it would train on, and those left out.
        shapes: of the first batch's tensors.
        fixed: bytes of weights, gradients, the optimiser's state and the average.
        activations: bytes that one part of a batch keeps for its gradient.
        picture: where the first batch is shown.
        device: where it would be trained.
        schedule: the learning rate at the first step, in the middle and at the last step.
    """

    parameters: Mapping[str, tuple[int, int]]
    pictures: str
    shapes: Mapping[str, list[int]]
    fixed: int
    activations: int
    picture: Path
    device: torch.device
    schedule: Sequence[float]

    @property
    def memory(self) -> int:
        """The estimate in bytes: weights and their state, and one part of a batch; without PyTorch's own."""
        return self.fixed + self.activations

    def rows(self) -> dict[str, str]:
        """Everything as text, by title."""
        parts = {
            name: f"{count:,} parameters" + ("" if trained == count else f", {trained:,} trained")
            for name, (count, trained) in self.parameters.items()
        }
        return {
            **parts,
            "pictures": self.pictures,
            "batch": ", ".join(f"{key} {'x'.join(map(str, shape))}" for key, shape in self.shapes.items()),
            "learning rate": "{:.2e} at first, {:.2e} in the middle, {:.2e} at last".format(*self.schedule),
            "memory": f"about {_mib(self.memory)} on {self.device.type}: {_mib(self.fixed)} for weights and optimiser, "
            f"{_mib(self.activations)} for a step",
            "first batch": str(self.picture),
        }


def dry_run(config: TrainConfig, device: str = "auto", dataset: Dataset | None = None) -> DryRun:
    """Put a run together, evaluate its first batch, and write that as a picture beside the run directory; the directory
    itself is not made.

    Raises:
        UserError: what :func:`implicitkit.train` would raise before its first step.
    """
    where = choose_device(device)
    torch.manual_seed(config.seed)
    schedule = build_schedule(config.optimiser)
    run = assemble(config, where, dataset)
    build_optimiser(run.model, config.optimiser)
    count = max(1, config.batch // config.accumulate)
    samples = [run.crops[k] for k in range(min(count, MAX_SHOWN))]
    picture = config.output.with_name(f"{config.output.name}_first_batch.png")
    picture.parent.mkdir(parents=True, exist_ok=True)
    _draw(run, samples, picture)
    trained = sum(_size(p) for p in run.model.parameters() if p.requires_grad)
    weights = sum(map(_size, [*run.model.parameters(), *run.model.buffers()]))
    copies = 1 + STATES + (config.ema is not None)  # gradient, state, average
    left_out = {"too small": run.crops.dropped, "unreadable": len(run.crops.unreadable)}
    notes = "".join(f", {number} {why} and skipped" for why, number in left_out.items() if number)
    at = (0, config.steps // 2, config.steps - 1)
    shapes = {key: [config.batch, *value.shape[1:]] for key, value in collate(samples).items() if _is_tensor(value)}
    return DryRun(
        _parameters(run.model),
        f"{len(run.crops.usable)}{notes}; {len(run.validator.items)} to validate on",
        shapes,
        weights + copies * trained,
        _activations(run, send_to_device(collate(samples[:1]), where)) * count,
        picture,
        where,
        [schedule(step, config.steps, config.optimiser.lr) for step in at],
    )


def _activations(run: Assembly, batch: Mapping[str, Any]) -> int:
    """Bytes that one crop keeps for the gradient; each piece of memory counts once, weights do not."""
    with graph_bytes(run.model) as kept:
        mask = batch["mask"] if run.model.takes_mask else None
        prediction = run.model(batch["image"], batch["coords"], batch["cell"], mask, run.losses.reads)
        run.losses.sum(run.losses.each(prediction, batch))
    return sum(kept.values())


def _draw(run: Assembly, samples: Sequence[Sample], file: Path) -> None:
    """Inputs and the targets that belong to them."""
    crops: TrainingCrops = run.crops
    before, crops.reference = crops.reference, True
    shown = [crops[k] for k in range(len(samples))]
    crops.reference = before
    rows = [
        [
            (f"crop {k}: input {_sides(sample['image'])}", to_pixels(sample["image"])),
            (f"target {_sides(sample['reference'])}", to_pixels(sample["reference"])),
            (f"mask, {float(sample['mask'].mean()):.0%} missing", to_pixels(sample["mask"].expand(3, -1, -1))),
        ]
        for k, sample in enumerate(shown)
    ]
    save_figure(sheet(rows), file)


def _parameters(model: nn.Module) -> dict[str, tuple[int, int]]:
    sizes = {}
    for name, part in model.named_children():
        weights = list(part.parameters())
        if weights:
            sizes[name] = (sum(p.numel() for p in weights), sum(p.numel() for p in weights if p.requires_grad))
    return sizes


def _mib(size: int) -> str:
    return f"{size / 2**20:,.{1 if size < 100 * 2**20 else 0}f} MiB"


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _sides(picture: Tensor) -> str:
    return f"{picture.shape[-1]}×{picture.shape[-2]}"


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)

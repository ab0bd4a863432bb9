"""Pre-training of ``mae_small`` on a folder of pictures, without labels.

    implicitkit pretrain-mae pictures/ -o mae.safetensors
    implicitkit pretrain-mae pictures/ -o mae.safetensors --resume      # after it was killed

Three quarters of a crop's patches are hidden; the encoder is given the others, and a small decoder, which is thrown
away afterwards, has to say what was hidden (He et al., CVPR 2022). What step *t* sees depends on the seed and *t*
alone, and the checkpoint beside the output is replaced at once, so a run killed at any moment resumes bit for bit.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from implicitkit_sair.training.masked import MaskedAutoencoder

Report = Callable[[dict[str, Any]], None]
CHECKPOINT_SECONDS = 30.0
"""A checkpoint is written after so long at the latest, however many steps that is: a short run resumes as well."""
FREE_ON_RESUME = ("steps", "lr", "workers", "log_every", "checkpoint_every")


@dataclass(frozen=True)
class Settings:
    """One pre-training; the first five are what the encoder is built with."""

    patch: int = 8
    width: int = 192
    depth: int = 8
    heads: int = 3
    out_channels: int | None = None
    steps: int = 20000
    batch: int = 32
    size: int = 96
    """Side of a crop, pixels: a multiple of ``patch``."""
    scale: float = 3.0
    """A crop is shrunk by a random factor from 1 to this before it is seen, so that shapes come in all sizes."""
    hidden: float = 0.75
    """Fraction of the patches that is hidden."""
    lr: float = 1e-3
    seed: int = 0
    workers: int = 0
    log_every: int = 50
    checkpoint_every: int = 500
    """Steps; a checkpoint is also written every ``CHECKPOINT_SECONDS``."""

    def __post_init__(self) -> None:
        positive = ("patch", "steps", "batch", "size", "log_every", "checkpoint_every")
        for name in positive:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1; received {getattr(self, name)}")
        if self.size % self.patch or self.size < 2 * self.patch:
            raise ValueError(f"size is a multiple of patch, twice that or more; received {self.size} and {self.patch}")
        if not 0 < self.hidden < 1:
            raise ValueError(f"hidden is a fraction between 0 and 1; received {self.hidden}")
        if not self.lr > 0 or not self.scale >= 1:
            raise ValueError(f"lr is above 0 and scale at least 1; received {self.lr} and {self.scale}")
        if self.workers < 0 or self.seed < 0:
            raise ValueError(f"workers and seed are at least 0; received {self.workers} and {self.seed}")


def pretrain(
    folder: Path,
    output: Path,
    settings: Settings,
    *,
    resume: bool = False,
    device: str = "auto",
    license: str = "",
    report: Report | None = None,
) -> Path:
    """Train a ``mae_small`` on all pictures under ``folder`` and write ``output``, which its ``weights:`` takes.

    Args:
        folder: searched recursively; smaller pictures than a crop are continued by their mirror image.
        output: a ``.safetensors`` file that does not exist yet; beside it, ``<name>.checkpoint.safetensors`` holds the
            state of the run until it is done.
        settings: the network and its training.
        resume: go on from the checkpoint.
        device: as on the command line, ``"auto"`` or torch's name of one.
        license: terms of the weights, written into the file.
        report: called with ``{"step", "loss", "lr"}`` at every log step, the loss being the mean since the last.

    Raises:
        UserError: the output exists, there is a checkpoint and no ``resume`` (or the reverse), a setting that counts
            has changed, a picture cannot be used, or the loss is no longer finite.
    """
    from implicitkit.files import held

    checkpoint = _check_output(Path(output), resume)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    lock = checkpoint.with_name(f".{checkpoint.name}.lock")
    with held(lock, f"another process trains {output}; wait for it to end, or choose another output"):
        trained = _pretrain(folder, output, checkpoint, settings, resume, device, license, report)
    lock.unlink(missing_ok=True)
    return trained


def _pretrain(
    folder: Path,
    output: Path,
    checkpoint: Path,
    settings: Settings,
    resume: bool,
    device: str,
    license: str,
    report: Report | None,
) -> Path:
    import torch
    from torch.utils.data import DataLoader

    from implicitkit import UserError, create_degradation
    from implicitkit.config import DataConfig, OptimiserConfig
    from implicitkit.degradations import seeded
    from implicitkit.devices import choose_device
    from implicitkit.images import picture_files
    from implicitkit.training import StepBatches, TrainingCrops, learning_rate
    from implicitkit_sair.semantic.mae import MAESmall
    from implicitkit_sair.training.masked import MaskedAutoencoder

    where = choose_device(device)
    # the low-resolution picture of a random scale is the crop: what super-resolution would be given to undo
    shrunk = create_degradation("super_resolution", scale=[1.0, settings.scale])
    data = DataConfig(folders=[folder], patch=settings.size, points=1, too_small="mirror", workers=settings.workers)
    files = picture_files(data.folders)
    crops = TrainingCrops(files, data, shrunk, settings.seed, settings.steps * settings.batch)

    torch.manual_seed(settings.seed)
    encoder = MAESmall(settings.patch, settings.width, settings.depth, settings.heads, settings.out_channels)
    model = MaskedAutoencoder(encoder).to(where).train()
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, 0.95))
    warmup = min(settings.steps // 20, 1000)
    schedule = OptimiserConfig(lr=settings.lr, schedule="cosine", warmup=warmup)
    start = _restore(checkpoint, settings, model, optimiser) if resume else 0

    batches = DataLoader(
        crops,
        batch_sampler=StepBatches(start, settings.steps, settings.batch, 0, 1),
        num_workers=settings.workers,
        persistent_workers=settings.workers > 0,
    )
    total, since_report, mean, kept = torch.zeros((), device=where), 0, math.nan, time.monotonic()
    for step, batch in enumerate(batches, start=start):
        rate = learning_rate(step, settings.steps, schedule)
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = model(batch["image"].to(where), settings.hidden, seeded(settings.seed, step))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        total, since_report, done = total + loss.detach(), since_report + 1, step + 1
        last = done == settings.steps
        if done % settings.log_every == 0 or last:
            mean = float(total) / since_report
            if not math.isfinite(mean):
                raise UserError(f"the loss is {mean} near step {done}; lower lr, then resume from the last checkpoint")
            if report is not None:
                report({"step": done, "loss": mean, "lr": rate})
            total, since_report = torch.zeros_like(total), 0
        late = time.monotonic() - kept >= CHECKPOINT_SECONDS
        if (done % settings.checkpoint_every == 0 or late) and not last:
            _keep(checkpoint, settings, model, optimiser, done)
            kept = time.monotonic()

    training = {**asdict(settings), "pictures": len(files), "loss": mean}
    _write(output, encoder.state_dict(), _metadata(encoder.architecture, training=training, license=license))
    checkpoint.unlink(missing_ok=True)
    return output


def _check_output(output: Path, resume: bool) -> Path:
    """Where the checkpoint is; raises ``UserError`` if the files there are not what ``resume`` expects."""
    from implicitkit import UserError
    from implicitkit.cli import check_target

    checkpoint = output.with_name(f"{output.stem}.checkpoint.safetensors")
    if output.suffix != ".safetensors":
        raise UserError(f"the output ends in .safetensors; received {output}")
    if output.exists():
        raise UserError(f"{output} exists already; choose another output")
    check_target(output, force=True)  # its folder is made when there is something to write
    if resume and not checkpoint.is_file():
        raise UserError(f"there is no checkpoint {checkpoint} to go on from; start without --resume")
    if checkpoint.is_file() and not resume:
        raise UserError(f"{checkpoint} is of a run that was stopped; go on with --resume, or delete it")
    return checkpoint


def _keep(checkpoint: Path, settings: Settings, model: MaskedAutoencoder, optimiser: Any, step: int) -> None:
    """Write the whole state of the run; weights that are not finite never."""
    from implicitkit import UserError

    if not all(bool(p.isfinite().all()) for p in model.parameters()):
        raise UserError(f"the weights are no longer finite at step {step}, and were not written; lower lr, then resume")
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for k, state in optimiser.state_dict()["state"].items():
        tensors.update({f"optimiser.{k}.{name}": value for name, value in state.items()})
    _write(checkpoint, tensors, {"settings": json.dumps(asdict(settings)), "step": str(step)})


def _restore(checkpoint: Path, settings: Settings, model: MaskedAutoencoder, optimiser: Any) -> int:
    """Load what :func:`_keep` wrote and return the number of steps done."""
    from safetensors.torch import load_file

    from implicitkit import UserError
    from implicitkit.weights import fill, read_metadata

    metadata = read_metadata(checkpoint)
    if not {"settings", "step"} <= metadata.keys():
        raise UserError(f"{checkpoint} is not of a pre-training; delete it and start without --resume")
    stored, expected = json.loads(metadata["settings"]), asdict(settings)
    changed = [key for key in expected if key not in FREE_ON_RESUME and stored.get(key) != expected[key]]
    if changed:
        raise UserError(
            f"{checkpoint} was started with other settings: "
            + ", ".join(f"{key} {stored.get(key)}, now {expected[key]}" for key in changed)
        )
    step = int(metadata["step"])
    if step > settings.steps:
        raise UserError(f"{checkpoint} has done {step} steps already; steps is {settings.steps}")
    tensors = load_file(str(checkpoint))
    fill(
        model,
        {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")},
        str(checkpoint),
    )
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, k, name = key.split(".", 2)
            state.setdefault(int(k), {})[name] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    return step


def _metadata(architecture: Mapping[str, int], *, training: Mapping[str, Any], license: str) -> dict[str, str]:
    from implicitkit_sair import __version__
    from implicitkit_sair.semantic.mae import FORMAT

    return {
        "format": FORMAT,
        "architecture": json.dumps(architecture),
        "version": __version__,
        "training": json.dumps(training),
        "license": license,
    }


def _write(file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    from safetensors.torch import save

    from implicitkit.files import replacing

    held = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        temporary.write_bytes(save(held, dict(metadata)))

"""Train a super-resolution model with its pictures on the GPU, for as many seconds as are given.

    python -m benchmarks.resident configs/fast.yaml OUT FOLDER... --seconds 500
    implicitkit convert OUT/last.safetensors fast.safetensors --fold --half

A processor makes 400 crops a second on each core; a GPU can learn from ten times as many as sixteen cores make. The
configuration is read as ``implicitkit train`` reads it: model, weights, loss, optimiser, ema, batch, data.patch,
data.points and the scales count, and the degradation is super_resolution with the kernel of MATLAB, rounded to 8 bits.
Other than there, a quarter of a batch shares a scale, points may be drawn twice, and pictures are cut into tiles of
256² pixels first, so that all lie in one tensor. ``log.jsonl`` has the loss; ``--set`` changes entries.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.graph_step import GraphStep, first_step
from implicitkit.config import TrainConfig, load_yaml, validate
from implicitkit.config.documents import apply_settings
from implicitkit.coordinates import mirrored
from implicitkit.create import build_model
from implicitkit.images import picture_files, read_image
from implicitkit.images.resize import resize, round_to_8_bits
from implicitkit.losses import WeightedLoss
from implicitkit.training.assembly import start_from
from implicitkit.training.optimisation.averaging import Average
from implicitkit.training.optimisation.optimiser import build_optimiser, set_rate

SIDE, OVERLAP = 256, 64  # of a tile, pixels
SHARES = 4  # scales in a batch


def tiles(folders: list[Path]) -> Tensor:
    """All pictures as tiles ``(N, 3, 256, 256)``, uint8; smaller pictures are mirrored at their borders."""
    found = []
    for file in picture_files(folders):
        picture = (read_image(file)[:3] * 255).round().to(torch.uint8)
        for axis in (1, 2):
            n = picture.shape[axis]
            if n < SIDE:
                picture = picture.index_select(axis, mirrored(torch.arange(SIDE), n))
        rows, columns = (starts(n) for n in picture.shape[1:])
        found += [picture[:, y : y + SIDE, x : x + SIDE] for y in rows for x in columns]
    return torch.stack(found)


def starts(n: int) -> list[int]:
    """Where tiles begin on an axis of ``n`` pixels, so that they cover it and neighbours overlap."""
    count = max(1, math.ceil((n - OVERLAP) / (SIDE - OVERLAP)))
    return sorted({round(k * (n - SIDE) / max(1, count - 1)) for k in range(count)}) if n > SIDE else [0]


class Crops:
    """Random batches: a low-resolution crop, and points of the clean one."""

    def __init__(self, pictures: Tensor, patch: int, points: int, scales: tuple[float, float]) -> None:
        self.pictures, self.patch, self.points, self.scales = pictures, patch, points, scales
        self._shrinking: dict[int, Tensor] = {}  # by side, (patch, side)

    def _shrunk(self, clean: Tensor) -> Tensor:
        side = clean.shape[2]
        if side not in self._shrinking:
            self._shrinking[side] = resize(torch.eye(side)[None], (self.patch, side))[0].to(clean)
        matrix = self._shrinking[side]
        return round_to_8_bits((matrix @ clean @ matrix.T).clamp(0, 1))

    def __call__(self, batch: int) -> dict[str, Tensor]:
        """A batch as losses take it."""
        parts = [self._share(batch // SHARES) for _ in range(SHARES)]
        return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}

    def _share(self, count: int) -> dict[str, Tensor]:
        device, patch = self.pictures.device, self.patch
        low, high = self.scales
        side = round(patch * (low + (high - low) * float(torch.rand(()))))
        chosen = torch.randint(len(self.pictures), (count, 1, 1), device=device)
        along = torch.arange(side, device=device)
        y, x = (torch.randint(SIDE - side + 1, (count, 1), device=device) + along for _ in range(2))
        flip = torch.rand(2, count, 1, device=device) < 0.5
        y, x = torch.where(flip[0], y.flip(1), y), torch.where(flip[1], x.flip(1), x)
        clean = self.pictures[chosen, :, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2).float() / 255
        if torch.rand(()) < 0.5:
            clean = clean.transpose(2, 3)
        image = self._shrunk(clean)
        at = torch.randint(side * side, (count, self.points), device=device)
        target = clean.flatten(2).gather(2, at[:, None].expand(-1, 3, -1)).transpose(1, 2)
        place = torch.stack([at // side, at % side], dim=-1)
        coords = ((2 * place + 1).double() / side - 1).float()
        cell = torch.full((count, 1, 2), 2 / side, device=device)
        return {"image": image, "coords": coords, "cell": cell, "target": target}


def train(arguments: Any) -> None:
    """Train and save."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    content = apply_settings(load_yaml(arguments.config), arguments.set)
    config = validate(TrainConfig, content, str(arguments.config))
    torch.manual_seed(config.seed)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    model = build_model(config.model)
    if config.weights:
        start_from(model, config.weights)
    model = model.to(device).to(memory_format=torch.channels_last).train()
    losses = WeightedLoss([term.as_dict() for term in config.loss])
    losses.attach(model)
    begun = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser, average = build_optimiser(model, config.optimiser), Average(model, config.ema)
    low, high = (float(s) for s in config.degradation[0].as_dict()["scale"])
    crops = Crops(tiles(arguments.folders).to(device), config.data.patch, int(config.data.points), (low, high))
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(f"{len(crops.pictures)} tiles, {sum(p.numel() for p in model.parameters()):,} parameters", flush=True)

    def loss_of(asked: dict[str, Any]) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            picture = asked["image"].contiguous(memory_format=torch.channels_last)
            prediction = model(picture, asked["coords"], asked["cell"], None, losses.reads)
            return losses.sum(losses.each(prediction, asked))

    def undo() -> None:
        nonlocal optimiser, average
        model.load_state_dict(begun)
        optimiser, average = build_optimiser(model, config.optimiser), Average(model, config.ema)

    losses.begin(0)
    clip = config.optimiser.clip
    recorded = first_step(lambda: GraphStep(loss_of, model, optimiser, average, clip, crops(config.batch)), undo)
    steps = arguments.steps or 10**9
    start, total, shown, step = time.monotonic(), torch.zeros((), device=device), 0, 0
    with (arguments.out / "log.jsonl").open("a") as log:
        while True:
            elapsed = time.monotonic() - start
            done = elapsed / arguments.seconds if arguments.seconds else step / steps
            if done >= 1 or step >= steps:
                break
            rate = config.optimiser.lr * min(1.0, (step + 1) / max(1, config.optimiser.warmup))
            rate = max(config.optimiser.final_lr, rate * 0.5 * (1 + math.cos(math.pi * done)))
            batch = crops(config.batch)
            if recorded is not None:
                total += recorded(batch, rate)
            else:
                set_rate(optimiser, rate)
                optimiser.zero_grad(set_to_none=True)
                loss = loss_of(batch)
                loss.backward()
                if clip:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimiser.step()
                average.update()
                total += loss.detach()
            step += 1
            if step % arguments.log_every == 0:
                mean, seconds = float(total) / (step - shown), time.monotonic() - start
                total, shown = torch.zeros_like(total), step
                print(json.dumps({"step": step, "loss": mean, "rate": rate, "seconds": seconds}), file=log, flush=True)
                if not math.isfinite(mean):
                    raise SystemExit(f"the loss is {mean} near step {step}")
                if step % (20 * arguments.log_every) == 0:
                    save(model, average, config, arguments.out, step)
    save(model, average, config, arguments.out, step)
    print(f"{arguments.out.name}: {step} steps in {time.monotonic() - start:.0f} s", flush=True)


def save(model: Any, average: Average, config: TrainConfig, out: Path, steps: int) -> None:
    """The averaged weights, with what they were trained on."""
    spec = [part.as_dict() for part in config.degradation]
    model.training_summary = {"steps": steps, "batch": config.batch, "trained_on": config.trained_on}
    model.training_summary |= {"degradation": spec, "data": {"patch": config.data.patch}}
    with average.shown():
        model.save(out / "last.safetensors", license=config.license)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--log-every", type=int, default=100)
    arguments = parser.parse_args()
    if not (arguments.steps or arguments.seconds):
        parser.error("give --steps or --seconds")
    train(arguments)


if __name__ == "__main__":
    main()

"""Train on holes whose plates are solved already (``plates.py``), with the examples on the model's own device.

PYTHONPATH=. python plugins/sair/studies/resident.py CONFIG POOL OUT --steps 2000 --seed 1
PYTHONPATH=. python plugins/sair/studies/resident.py CONFIG POOL OUT --seconds 500

CONFIG is a training configuration whose model fills and skips by ``biharmonic``; its model, weights, loss, optimiser,
ema, batch and data.points/in_holes count. The cosine runs over the steps, or over the seconds where time is what is
given. OUT is a folder: ``log.jsonl``, ``weights.safetensors`` (half precision, the average) and, with ``--test FILE``
of ``plates.py --test``, ``scores.json``: the hole's PSNR of each example.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.graph_step import GraphStep, first_step
from implicitkit.config import TrainConfig, load_yaml, validate
from implicitkit.coordinates import cell_size, grid
from implicitkit.create import build_model
from implicitkit.field.field import Field, Prediction
from implicitkit.images import filling
from implicitkit.losses import WeightedLoss
from implicitkit.model import ImplicitModel
from implicitkit.training.assembly import start_from
from implicitkit.training.optimisation.averaging import Average
from implicitkit.training.optimisation.optimiser import build_optimiser, set_rate

HELD = 24  # files of a pool on the device at a time
STEPS_PER_FILE = 12  # after so many steps a file makes room for another


@dataclass
class Batch:
    """Examples on the device: pictures in [0, 1], the hole 1 where it is missing, the picture with its plate."""

    truth: Tensor
    hole: Tensor
    plate: Tensor

    @classmethod
    def of(cls, arrays: Any, device: torch.device) -> Batch:
        """Compact arrays as they are stored."""
        return cls(*(torch.from_numpy(arrays[name]).to(device) for name in ("truth", "hole", "plate")))

    def __getitem__(self, chosen: Any) -> Batch:
        """Examples in float32."""
        truth, hole, plate = self.truth[chosen], self.hole[chosen], self.plate[chosen]
        return Batch(truth.float() / 255, hole.float(), plate.float())

    def flipped(self) -> Batch:
        """Half of the examples mirrored."""
        some = torch.rand(len(self.truth), 1, 1, 1, device=self.truth.device) < 0.5
        return Batch(*(torch.where(some, x.flip(3), x) for x in (self.truth, self.hole, self.plate)))


class Pool:
    """Some files of a pool on the device; one of them is replaced every few steps."""

    def __init__(self, folder: Path, device: torch.device, seed: int) -> None:
        self.folder, self.device, self.random = folder, device, np.random.default_rng(seed)
        while len(files := self._files()) < 2:
            time.sleep(0.5)
        self.held = [self._read(files[k % len(files)]) for k in self.random.permutation(max(HELD, len(files)))[:HELD]]

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.npz"))

    def _read(self, file: Path) -> Batch:
        with np.load(file) as arrays:
            return Batch.of(arrays, self.device)

    def batches(self, size: int) -> Iterator[Batch]:
        """Random batches, each from all files that are held."""
        step = 0
        while True:
            step += 1
            if step % STEPS_PER_FILE == 0:
                files = self._files()
                self.held[int(self.random.integers(len(self.held)))] = self._read(
                    files[int(self.random.integers(len(files)))]
                )
            parts, share = [], math.ceil(size / 4)
            for number in self.random.permutation(len(self.held))[:4]:
                chosen = torch.from_numpy(self.random.permutation(len(self.held[number].truth))[:share])
                parts.append(self.held[number][chosen.to(self.device)])
            whole = Batch(*(torch.cat([getattr(p, n) for p in parts])[:size] for n in ("truth", "hole", "plate")))
            yield whole.flipped()


class Questions:
    """What a model is asked of a batch: random points, most of them in holes, or whole pictures."""

    def __init__(self, size: tuple[int, int], points: int | str, in_holes: float | None, device: torch.device) -> None:
        self.size, self.points, self.in_holes = size, points, in_holes or 0.0
        self.grid, self.cell = grid(size).to(device), cell_size(size).to(device)

    def __call__(self, batch: Batch) -> dict[str, Any]:
        """The batch as losses take it."""
        count, pixels = len(batch.truth), self.size[0] * self.size[1]
        hole = batch.hole.flatten(1)
        if self.points == "window":
            chosen = torch.arange(pixels, device=hole.device).expand(count, -1)
        else:
            inside = self.in_holes * hole / hole.sum(1, keepdim=True).clamp_min(1)
            chosen = torch.multinomial(inside + (1 - self.in_holes) / pixels, int(self.points), replacement=True)
        target = batch.truth.flatten(2).transpose(1, 2).gather(1, chosen[..., None].expand(-1, -1, 3))
        asked = {"image": batch.plate, "mask": batch.hole, "reference": batch.truth, "target": target}
        asked |= {"coords": self.grid[chosen], "cell": self.cell.expand(count, 1, 2)}
        return asked | ({"window": self.size} if self.points == "window" else {})


def predict(model: ImplicitModel, asked: dict[str, Any], losses: WeightedLoss | None, clean: bool) -> Prediction:
    """The model's values; with ``clean`` it reads the meaning of the clean pictures: no completion is as good."""
    mask = asked["mask"] if model.takes_mask else None
    if not clean:
        return model(asked["image"], asked["coords"], asked["cell"], mask, losses.reads if losses else ())
    meaning = {name: Field(part, asked["reference"], grad=True) for name, part in model.conditions.items()}
    field = Field(model, asked["image"], mask, grad=True, fill=model.hole_fill, conditions=meaning)
    return field.predict(asked["coords"], asked["cell"], losses.reads if losses else ())


def loss_of(model: ImplicitModel, losses: WeightedLoss, asked: dict[str, Any], how: Any) -> Tensor:
    """The loss on a batch, with a graph."""
    if asked["image"].is_cuda:
        asked = asked | {"image": asked["image"].contiguous(memory_format=torch.channels_last)}
    with torch.autocast(asked["image"].device.type, torch.bfloat16, enabled=how.bf16):
        prediction = predict(model, asked, losses, how.clean)
        if losses.wants_window:  # judge the picture that is shown: known pixels are known
            known = asked["mask"].flatten(1)[..., None] < 0.5
            prediction = prediction._replace(values=torch.where(known, asked["target"], prediction.values))
        return losses.sum(losses.each(prediction, asked))


def learn(
    model: ImplicitModel, losses: WeightedLoss, optimiser: Any, clip: float | None, asked: dict[str, Any], how: Any
) -> Tensor:
    """Take a step of the optimiser; returns the loss, without a graph."""
    optimiser.zero_grad(set_to_none=True)
    loss = loss_of(model, losses, asked, how)
    loss.backward()
    if clip:
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], clip)
    optimiser.step()
    return loss.detach()


def train(arguments: Any) -> None:
    """Train, save and score."""
    device = torch.device(arguments.device)
    config = validate(TrainConfig, load_yaml(arguments.config), str(arguments.config))
    torch.manual_seed(arguments.seed)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    # A hole of the pool holds its plate already; the solver would be the training's slowest part.
    filling.biharmonic_fill = lambda picture, mask: picture
    model = build_model(config.model)
    if config.weights:
        start_from(model, config.weights)
    model = model.to(device).to(memory_format=torch.channels_last).train()
    begun = {name: value.clone() for name, value in model.state_dict().items()}
    losses = WeightedLoss([term.as_dict() for term in config.loss])
    losses.attach(model)
    optimiser = build_optimiser(model, config.optimiser)
    average = Average(model, config.ema)
    pool = Pool(arguments.pool, device, arguments.seed)
    size = tuple(pool.held[0].truth.shape[2:])
    questions = Questions(size, config.data.points, config.data.in_holes, device)  # type: ignore[arg-type]
    arguments.out.mkdir(parents=True, exist_ok=True)
    log = (arguments.out / "log.jsonl").open("a")
    batch_size = arguments.batch or config.batch
    recorded = None
    if not (arguments.eager or losses.wants_window):  # a discriminator takes steps of its own

        def record() -> GraphStep:
            asked = questions(next(iter(pool.batches(batch_size))))
            step = partial(loss_of, model, losses, how=arguments)
            losses.begin(0)
            return GraphStep(lambda asked: step(asked), model, optimiser, average, config.optimiser.clip, asked)

        def undo() -> None:
            nonlocal optimiser, average
            model.load_state_dict(begun)
            optimiser, average = build_optimiser(model, config.optimiser), Average(model, config.ema)

        recorded = first_step(record, undo)
    steps, start = arguments.steps or 10**9, time.monotonic()
    total, saved, shown = torch.zeros((), device=device), start, 0
    for step, batch in enumerate(pool.batches(batch_size)):
        elapsed = time.monotonic() - start
        done = elapsed / arguments.seconds if arguments.seconds else step / steps
        if done >= 1 or step >= steps:
            break
        rate = config.optimiser.lr * min(1.0, (step + 1) / max(1, config.optimiser.warmup))
        rate *= 0.5 * (1 + math.cos(math.pi * done))
        if recorded is not None:
            total = total + recorded(questions(batch), rate)
        else:
            set_rate(optimiser, rate)
            losses.begin(step)
            total = total + learn(model, losses, optimiser, config.optimiser.clip, questions(batch), arguments)
            average.update()
            losses.learn(lambda tensor: tensor)
        if (step + 1) % arguments.log_every == 0:
            mean, total = float(total) / (step + 1 - shown), torch.zeros_like(total)
            shown, seconds = step + 1, time.monotonic() - start
            note = {"step": step + 1, "loss": mean, "crops": (step + 1) * batch_size, "seconds": seconds}
            print(json.dumps(note), file=log, flush=True)
            if not math.isfinite(mean):
                raise SystemExit(f"the loss is {mean} near step {step}")
            if time.monotonic() - saved > arguments.save_every:
                saved = time.monotonic()
                save(model, average, arguments.out, config, step + 1, batch_size)
    save(model, average, arguments.out, config, step, batch_size)
    crops = {"steps": step, "crops": step * batch_size, "seconds": time.monotonic() - start}
    result: dict[str, Any] = {
        "config": str(arguments.config),
        "seed": arguments.seed,
        "clean": arguments.clean,
        **crops,
    }
    if arguments.test:
        with average.shown():
            result |= score(model, arguments.test, questions, device, arguments.clean)
    (arguments.out / "scores.json").write_text(json.dumps(result))
    print(arguments.out.name, {k: v for k, v in result.items() if k != "psnr"}, flush=True)


def save(model: ImplicitModel, average: Average, out: Path, config: TrainConfig, steps: int, batch: int) -> None:
    """The averaged weights in half precision, with what they were trained on."""
    spec = [part.as_dict() for part in config.degradation]
    data = {"patch": config.data.patch, "whole": config.data.flips == "horizontal"}  # faces, not crops of scenes
    model.training_summary = {"steps": steps, "batch": batch, "trained_on": config.trained_on}
    model.training_summary |= {"degradation": spec, "data": data}
    with average.shown():
        model.save(out / "weights.safetensors", dtype=torch.float16, license=config.license)


@torch.no_grad()
def score(
    model: ImplicitModel, file: Path, questions: Questions, device: torch.device, clean: bool, batch: int = 60
) -> dict[str, Any]:
    """The hole's PSNR of each example in dB, by bin, and its means."""
    model.eval()
    with np.load(file) as arrays:
        examples, settings = Batch.of(arrays, device), [str(s) for s in arrays["setting"]]
    whole = Questions(questions.size, "window", None, device)
    psnr: list[float] = []
    for first in range(0, len(settings), batch):
        part = examples[slice(first, first + batch)]
        asked = whole(part)
        values = predict(model, asked, None, clean).values.float().clamp(0, 1)
        values = (values * 255).round() / 255
        hole = part.hole.flatten(1)[..., None]
        error = ((values - asked["target"]).square() * hole).sum((1, 2)) / (3 * hole.sum((1, 2)))
        psnr += (-10 * error.clamp_min(1e-10).log10()).tolist()
    bins = {name: [x for x, s in zip(psnr, settings, strict=True) if s == name] for name in dict.fromkeys(settings)}
    return {"mean": {name: float(np.mean(values)) for name, values in bins.items()}, "psnr": bins}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("pool", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--batch", type=int, help="examples per step (default: the configuration's)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clean", action="store_true", help="the meaning is that of the clean picture")
    parser.add_argument("--test", type=Path, help="the test's examples, of plates.py")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bf16", action="store_true", help="networks in bfloat16")
    parser.add_argument("--eager", action="store_true", help="start each kernel by itself, not as a CUDA graph")
    parser.add_argument("--log-every", type=int, default=100)
    parser.add_argument("--save-every", type=float, default=60, help="seconds")
    arguments = parser.parse_args()
    if not (arguments.steps or arguments.seconds):
        parser.error("give --steps or --seconds")
    train(arguments)


if __name__ == "__main__":
    main()

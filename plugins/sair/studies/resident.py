"""Train on a GPU with the examples on it: a configuration, or a method of a study.

PYTHONPATH=. python plugins/sair/studies/resident.py CONFIG EXAMPLES OUT --steps 2000 --seed 1
PYTHONPATH=. python plugins/sair/studies/resident.py STUDY EXAMPLES --method SAIR --seed 1 --test TEST

EXAMPLES is a folder of holes whose plates are solved already (``plates.py``), for models that fill and skip by
``biharmonic``; or, where the degradation is noise or super_resolution by one factor, a folder of pictures of one size.
Of CONFIG its model, weights, loss, optimiser, ema, steps, batch and data.points/in_holes count. The cosine runs over
the steps, or over the seconds where time is what is given. OUT gets ``log.jsonl`` and the averaged weights in half
precision; with a method it is the folder in which ``implicitkit compare`` would train it. ``--test``, the test's
pictures or ``test.npz`` of ``plates.py --test``, scores by the study's protocol and keeps the scores there as well, so
that ``implicitkit compare STUDY --report-only`` reports of what was trained here.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from resident_examples import Batch, Pictures, Pool
from torch import Tensor

from benchmarks.graph_step import GraphStep, first_step
from implicitkit.comparison.plan import PlannedRun, make_plan
from implicitkit.comparison.scores import Scored, Scorer
from implicitkit.config import TrainConfig, load_yaml, validate
from implicitkit.config.comparison import CompareConfig, load_comparison
from implicitkit.coordinates import cell_size, grid
from implicitkit.create import build_model
from implicitkit.evaluation.protocol import Example
from implicitkit.evaluation.timing import Watch
from implicitkit.field.field import Field, Prediction
from implicitkit.files import write_kept
from implicitkit.images import filling
from implicitkit.losses import WeightedLoss
from implicitkit.metrics.lpips import LPIPS
from implicitkit.model import ImplicitModel
from implicitkit.training.assembly import start_from
from implicitkit.training.optimisation.averaging import Average
from implicitkit.training.optimisation.optimiser import build_optimiser, set_rate

CLEAN = "the clean picture's"  # the row whose meaning is complete
SOLVE = filling.biharmonic_fill
TIMED = 9  # examples whose answers are timed


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
        same = batch.hole.shape[2:] == batch.shown.shape[2:]  # else magnified, with nothing missing
        mask = batch.hole if same else torch.zeros_like(batch.shown[:, :1])
        asked = {"image": batch.shown, "mask": mask, "reference": batch.truth, "target": target}
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


def runs_of(arguments: Any) -> tuple[list[tuple[TrainConfig, Path]], PlannedRun | None, CompareConfig | None]:
    """What is to be trained and where, in order; of a study, the planned run and the study as well."""
    if not arguments.method:
        return [(validate(TrainConfig, load_yaml(arguments.config), str(arguments.config)), arguments.out)], None, None
    plan = make_plan(validate(CompareConfig, load_comparison(arguments.config), str(arguments.config)))
    (run,) = plan.ordered([f"{arguments.method}/seed-{arguments.seed}"])[-1:]
    if arguments.clean:
        run = PlannedRun(CLEAN, run.seed, run.config)
        run.config.output = plan.config.output / "runs" / CLEAN / f"seed-{run.seed}"
    before = [] if run.after is None or run.after.finished else [run.after]
    return [(one.config, one.folder) for one in (*before, run)], run, plan.config


def main_run(arguments: Any) -> None:
    """Train, save and score."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    # A hole of the pool holds its plate already; the solver would be the training's slowest part.
    filling.biharmonic_fill = lambda picture, mask: picture
    todo, run, study = runs_of(arguments)
    for config, out in todo:
        model, average, note = train(config, out, arguments)
    if arguments.test:
        assert run is not None and study is not None
        with average.shown():
            note["scores"] = score(model, run, study, arguments)
        means = {s: {m: float(np.mean(list(v.values()))) for m, v in by.items()} for s, by in note["scores"].items()}
        note["mean"] = means
        (out / "scores.json").write_text(json.dumps(note))
    print(out, {key: value for key, value in note.items() if key != "scores"}, flush=True)


def train(config: TrainConfig, out: Path, arguments: Any) -> tuple[ImplicitModel, Average, dict[str, Any]]:
    """Train and save; the model, the average of its weights and how it went."""
    device = torch.device(arguments.device)
    torch.manual_seed(arguments.seed)
    model = build_model(config.model)
    if config.weights:
        start_from(model, config.weights)
    model = model.to(device).to(memory_format=torch.channels_last).train()
    begun = {name: value.clone() for name, value in model.state_dict().items()}
    losses = WeightedLoss([term.as_dict() for term in config.loss])
    losses.attach(model)
    optimiser = build_optimiser(model, config.optimiser)
    average = Average(model, config.ema)
    spec = config.degradation[0].as_dict()
    pool: Pool | Pictures = (
        Pool(arguments.examples, device, arguments.seed)
        if spec["name"] == "inpainting"
        else Pictures(arguments.examples, device, spec, config.data.held_out)
    )
    questions = Questions(pool.size, config.data.points, config.data.in_holes, device)  # type: ignore[arg-type]
    out.mkdir(parents=True, exist_ok=True)
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
    steps, start = arguments.steps or (10**9 if arguments.seconds else config.steps), time.monotonic()
    total, saved, shown, then = torch.zeros((), device=device), start, 0, start
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
            now = time.monotonic()
            note = {"event": "train", "step": step + 1, "loss": mean}
            note |= {"crops_per_s": (step + 1 - shown) * batch_size / (now - then), "seconds": now - start}
            shown, then = step + 1, now
            with (out / "log.jsonl").open("a", encoding="utf-8") as log:
                print(json.dumps(note), file=log)
            if not math.isfinite(mean):
                raise SystemExit(f"the loss is {mean} near step {step}")
            if time.monotonic() - saved > arguments.save_every:
                saved = time.monotonic()
                save(model, average, out, config, step + 1, batch_size)
    save(model, average, out, config, step, batch_size)
    seconds = time.monotonic() - start
    how = {
        "config": str(arguments.config),
        "seed": arguments.seed,
        "clean": arguments.clean,
        "recorded": bool(recorded),
    }
    return model, average, {**how, "steps": step, "crops": step * batch_size, "seconds": seconds}


def save(model: ImplicitModel, average: Average, out: Path, config: TrainConfig, steps: int, batch: int) -> None:
    """The averaged weights in half precision, with what they were trained on."""
    spec = [part.as_dict() for part in config.degradation]
    data = {"patch": config.data.patch, "whole": config.data.flips == "horizontal"}  # faces, not crops of scenes
    model.training_summary = {"steps": steps, "batch": batch, "trained_on": config.trained_on}
    model.training_summary |= {"degradation": spec, "data": data}
    with average.shown():
        model.save(out / "last.safetensors", dtype=torch.float16, license=config.license)
    if config.data.held_out:  # what a comparison reads; nothing is validated here
        shutil.copy(out / "last.safetensors", out / "best.safetensors")


def test_examples(file: Path, scorer: Scorer) -> list[Example]:
    """The examples of the study's test set, those with holes as plates.py has filled them."""
    if file.suffix != ".npz":
        return list(scorer.protocol.examples(file))
    with np.load(file) as arrays:
        whole = Batch.of(arrays, torch.device("cpu"))
        names, settings = arrays["name"].tolist(), arrays["setting"].tolist()
    return [
        Example(setting, name, whole[k].shown, whole[k].hole, whole[k].truth)
        for k, (setting, name) in enumerate(zip(settings, names, strict=True))
    ]


@torch.no_grad()
def score(model: ImplicitModel, run: PlannedRun, study: CompareConfig, arguments: Any, batch: int = 60) -> Any:
    """Score by the study's protocol, and keep the scores where ``implicitkit compare`` looks for them."""
    model.eval()
    device, watch = torch.device(arguments.device), Watch()
    ((label, evaluation),) = study.evaluation.items()
    scorer = Scorer(label, evaluation, study.base["degradation"], device, None)
    metrics = scorer.protocol.metrics(scorer.metrics)
    for metric in metrics:
        if isinstance(metric, LPIPS):
            metric.to(device)
    examples = test_examples(arguments.test, scorer)
    shown_at = study.pictures.setting or examples[-1].setting
    values: dict[str, dict[str, dict[str, float]]] = {}
    for setting in dict.fromkeys(example.setting for example in examples):
        chosen = [example for example in examples if example.setting == setting]
        whole = Questions(chosen[0].size, "window", None, device)
        for first in range(0, len(chosen), batch):
            part = chosen[first : first + batch]
            truth, shown = (torch.stack([getattr(e, n) for e in part]).to(device) for n in ("truth", "image"))
            holes = [e.truth.new_zeros(1, *e.size) if e.mask is None else e.mask for e in part]
            asked = whole(Batch(truth, torch.stack(holes).to(device), shown))
            answers = (
                predict(model, asked, None, arguments.clean).values.float().transpose(1, 2).unflatten(2, part[0].size)
            )
            for k, example in enumerate(part):
                on_device = Example(setting, example.name, shown[k], asked["mask"][k], truth[k])
                scored = scorer.protocol.score(answers[k], on_device, metrics)
                for metric, value in scored.items():
                    values.setdefault(setting, {}).setdefault(metric, {})[example.name] = float(value)
                if run.seed == min(study.seeds) and setting == shown_at:
                    watch(run.label, example, answers[k], math.nan)
    filling.biharmonic_fill = SOLVE
    answer, times = scorer.protocol.answer(model, Path(), {}), []
    for example in examples[:TIMED]:  # one at a time, solved anew: what a user waits for
        start = time.monotonic()
        answer(example).cpu()
        times.append(time.monotonic() - start)
        watch(run.label, example, None, times[-1])
    costs = replace(watch.costs(run.label, model, answer), seconds=median(times))
    names = scorer.protocol.new_scores(Path(), metrics)
    tables = scorer.protocol.tables(names)
    watch.write(scorer.pictures(run.folder))
    kept = Scored(
        {run.label: values}, {run.label: asdict(costs)}, dict(names.units), tables, scorer.protocol.settings(), True
    )
    write_kept(*scorer.place(run.label, run), asdict(kept))
    return values


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="of a training, or of a comparison")
    parser.add_argument("examples", type=Path)
    parser.add_argument("out", type=Path, nargs="?", help="a folder (default, with --method: the comparison's)")
    parser.add_argument("--method", help="of the comparison")
    parser.add_argument("--steps", type=int, help="(default: the configuration's)")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--batch", type=int, help="examples per step (default: the configuration's)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clean", action="store_true", help="the meaning is that of the clean picture: a ceiling")
    parser.add_argument("--test", type=Path, help="the test's pictures, or test.npz of plates.py")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bf16", action="store_true", help="networks in bfloat16")
    parser.add_argument("--eager", action="store_true", help="start each kernel by itself, not as a CUDA graph")
    parser.add_argument("--log-every", type=int, default=100)
    parser.add_argument("--save-every", type=float, default=60, help="seconds")
    arguments = parser.parse_args()
    if (arguments.out is None) == (arguments.method is None):
        parser.error("give OUT, or --method for the comparison's own folder")
    if arguments.test and not arguments.method:
        parser.error("--test scores by a study's protocol: give --method")
    main_run(arguments)


if __name__ == "__main__":
    main()

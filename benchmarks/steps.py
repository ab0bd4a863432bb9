"""One training step: forward, backward and Adam, against the authors' way."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.baseline import Baseline
from benchmarks.rows import Row, race
from benchmarks.speed import Settings, named
from benchmarks.subjects import picture
from implicitkit.decoders.liif import LIIF
from implicitkit.decoders.lte import LTE

GOALS = {
    ("liif_edsr_baseline", "float32"): 1.9,
    ("liif_edsr_baseline", "bfloat16"): 5.0,
    ("lte_edsr_baseline", "float32"): 1.0,
    ("lte_edsr_baseline", "bfloat16"): 2.5,
}
BATCH, PATCH, POINTS = 16, 48, 2304  # as the papers train
SAME, NEAR = 1e-4, 0.05  # of the gradient's length: float32, and bfloat16's 8 bits


def step_rows(settings: Settings, batch: int = BATCH, patch: int = PATCH, points: int = POINTS) -> list[Row]:
    """The ratio of times of a step on ``batch`` patches of ``patch`` pixels a side and ``points`` points each."""
    rows = []
    data = batch_of(batch, patch, points, settings.device)
    for name in settings.models:
        model = settings.load(name).train()
        if not isinstance(model.decoder, (LIIF, LTE)):
            continue
        theirs = Baseline(copy.deepcopy(model))
        ways: dict[str, Callable[[], dict[str, Tensor]]] = {"baseline": stepper(theirs, data, None)}
        for precision, dtype in (("float32", None), ("bfloat16", torch.bfloat16)):
            ways[precision] = stepper(copy.deepcopy(model), data, dtype)
        first = {way: step() for way, step in ways.items()}
        seconds = race(ways, settings.repeats, settings.device)
        for precision, bound in (("float32", SAME), ("bfloat16", NEAR)):
            apart = distance(first[precision], {k.removeprefix("model."): v for k, v in first["baseline"].items()})
            rows.append(
                Row(
                    f"step/{named(name)}/{precision}",
                    f"{named(name)}, a training step ({batch} × {patch}², {points} points each), {precision}, over the "
                    "baseline",
                    "x",
                    seconds["baseline"] / seconds[precision],
                    GOALS.get((name, precision)) if not settings.on_gpu and batch == BATCH else None,
                    equal=apart <= bound,
                    note=f"gradients differ by {apart:.0e} of their length",
                    details={way: seconds[way] for way in (precision, "baseline")},
                )
            )
    return rows


def batch_of(batch: int, patch: int, points: int, device: torch.device) -> dict[str, Tensor]:
    """Patches of the bundled photograph, random points, and what the photograph shows there as the target."""
    generator = torch.Generator().manual_seed(0)
    photo = picture(4 * patch)
    corners = torch.randint(0, 3 * patch, (batch, 2), generator=generator).tolist()
    image = torch.stack([photo[:, y : y + patch, x : x + patch] for y, x in corners])
    coords = torch.rand(batch, points, 2, generator=generator) * 2 - 1
    target = nn.functional.grid_sample(image, coords.flip(-1)[:, None], align_corners=False)[:, :, 0].transpose(1, 2)
    cell = torch.full_like(coords, 2 / (2.5 * patch))
    return {k: v.to(device) for k, v in {"image": image, "coords": coords, "cell": cell, "target": target}.items()}


def stepper(model: nn.Module, data: dict[str, Tensor], dtype: torch.dtype | None) -> Callable[[], dict[str, Tensor]]:
    """A function that does one step and returns the gradients it went by."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step() -> dict[str, Tensor]:
        optimiser.zero_grad()
        with torch.autocast(data["image"].device.type, dtype=dtype, enabled=dtype is not None):
            said: Any = model(data["image"], data["coords"], data["cell"])
            loss = ((said if isinstance(said, Tensor) else said.values) - data["target"]).abs().mean()
        loss.backward()
        optimiser.step()
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    return step


def distance(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """The length of the difference of two gradients over the length of the second."""
    difference = sum(float((ours[name] - theirs[name]).square().sum()) for name in theirs)
    return float((difference / sum(float(g.square().sum()) for g in theirs.values())) ** 0.5)

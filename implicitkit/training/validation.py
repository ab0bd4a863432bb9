"""What is measured while training: PSNR of the luma on whole pictures, and one picture to look at; for a model whose
values are no picture, the loss.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from implicitkit.config import TrainConfig, naming
from implicitkit.coordinates import cell_size, grid
from implicitkit.create import create_degradation
from implicitkit.degradations.base import Degradation, seeded
from implicitkit.errors import DataError
from implicitkit.images.io import read_image
from implicitkit.losses import Total
from implicitkit.metrics import psnr_y
from implicitkit.model import ImplicitModel

POINTS = 4096  # of a picture, on which an embedding is compared
SMALLEST = 4  # low-resolution pixels a side, so that something is left after shaving


@dataclass(frozen=True)
class Validation:
    """What a validation found.

    Attributes:
        scores: one number per task.
        picture: ``(3, H, W)`` to look at.
        kind: ``"psnr"``, the higher the better, or ``"loss"``, the lower the better.
    """

    scores: dict[str, float]
    picture: Tensor
    kind: Literal["psnr", "loss"] = "psnr"


class Validator:
    """Degrades pictures, the same way every time, and scores what the model makes of them.

    All pictures are read, degraded and checked when it is made, so that none can stop a run hours later.

    Raises:
        DataError: a picture is too small for one of the scales.
        ImageError: a picture cannot be read.
    """

    def __init__(self, files: Sequence[Path], config: TrainConfig, losses: Total) -> None:
        self.files, self.config, self.losses = list(files), config.validation, losses
        self.seen = {file.resolve() for file in self.files}
        with naming("degradation"):
            tasks = at_scales(config.degradation_spec, self.config.scales)
        largest = max(scale for scale, _ in tasks.values())
        pictures = [self._centre(read_image(file)) for file in self.files]
        for file, clean in zip(self.files, pictures, strict=True):
            if min(clean.shape[1:]) < SMALLEST * largest:
                h, w = clean.shape[1:]
                raise DataError(
                    f"{file} ({h}×{w} pixels) is too small to validate on at scale {largest:g}; "
                    f"it needs {math.ceil(SMALLEST * largest)} a side: leave it out or lower validation.scales"
                )

        with naming("degradation"):
            self._degraded = {
                label: (scale, [degradation(clean, generator=seeded(k)) for k, clean in enumerate(pictures)])
                for label, (scale, degradation) in tasks.items()
            }

    def __bool__(self) -> bool:
        return bool(self.files)

    @torch.no_grad()
    def __call__(self, model: ImplicitModel) -> Validation:
        """Mean PSNR-Y in dB per task, and the first picture at the last task: input, output, truth.

        Of a model whose output is an embedding: the loss per task, and the embedding's three strongest directions as
        colours.
        """
        if model.decoder.output == "embedding":
            return self._by_loss(model)
        scores: dict[str, float] = {}
        shown = torch.zeros(3, 1, 1)
        for label, (scale, pictures) in self._degraded.items():
            values = []
            for k, seen in enumerate(pictures):
                field = model.encode(seen.image, seen.mask if model.takes_mask else None)
                size = seen.reference.shape[1:]
                output = field.render(size).cpu()
                values.append(psnr_y(output, seen.reference, shave=math.ceil(scale) if scale > 1 else 0))
                if k == 0:
                    shown = torch.cat([F.interpolate(seen.image[None], tuple(size))[0], output, seen.reference], dim=2)
            scores[label] = sum(values) / len(values)
        return Validation(scores, shown)

    def _by_loss(self, model: ImplicitModel) -> Validation:
        scores: dict[str, float] = {}
        shown = torch.zeros(3, 1, 1)
        device = next(model.parameters()).device
        for label, (_, pictures) in self._degraded.items():
            values = []
            for k, seen in enumerate(pictures):
                size = tuple(seen.reference.shape[1:])
                chosen = torch.randperm(math.prod(size), generator=seeded(k))[:POINTS]
                batch = {
                    "image": seen.image[None],
                    "mask": seen.mask[None],
                    "coords": grid(size)[chosen][None],
                    "cell": cell_size(size)[None, None],
                    "target": seen.reference.flatten(1).t()[chosen][None],
                    "reference": seen.reference[None],
                }
                batch = {key: value.to(device) for key, value in batch.items()}
                mask = batch["mask"] if model.takes_mask else None
                prediction = model(batch["image"], batch["coords"], batch["cell"], mask)
                values.append(float(self.losses.sum(self.losses.each(prediction, batch))))
                if k == 0:
                    whole = model.encode(batch["image"], mask).render(size)[0].cpu()
                    shown = torch.cat([F.interpolate(seen.image[None], size)[0], as_colours(whole), seen.reference], 2)
            scores[label] = sum(values) / len(values)
        return Validation(scores, shown, "loss")

    def _centre(self, picture: Tensor) -> Tensor:
        starts = [max(0, (n - self.config.max_size) // 2) for n in picture.shape[1:]]
        return picture[:, starts[0] : starts[0] + self.config.max_size, starts[1] : starts[1] + self.config.max_size]


def as_colours(embedding: Tensor) -> Tensor:
    """The three strongest directions of an embedding ``(D, H, W)`` as a picture ``(3, H, W)`` in [0, 1]."""
    rows = embedding.flatten(1).t()
    rows = rows - rows.mean(0)
    _, _, directions = torch.linalg.svd(rows.t() @ rows)
    found = rows @ directions[:3].t()
    low, high = found.amin(0), found.amax(0)
    picture = torch.zeros(3, *embedding.shape[1:])
    picture[: found.shape[1]] = ((found - low) / (high - low).clamp(min=1e-9)).t().reshape(-1, *embedding.shape[1:])
    return picture


def at_scales(spec: Any, scales: Sequence[float]) -> dict[str, tuple[float, Degradation]]:
    """The degradation with its super-resolution step, if any, at each of ``scales``: label -> (scale, degradation)."""
    steps = spec if isinstance(spec, list) else [spec]
    if not any(step["name"] == "super_resolution" for step in steps):
        return {"all": (1.0, create_degradation(spec))}
    tasks: dict[str, tuple[float, Degradation]] = {}
    for scale in scales:
        fixed = copy.deepcopy(steps)
        for step in fixed:
            if step["name"] == "super_resolution":
                step["scale"] = scale
                step.pop("size", None)
                step.pop("per_axis", None)
        tasks[f"x{scale:g}"] = (scale, create_degradation(fixed if isinstance(spec, list) else fixed[0]))
    return tasks

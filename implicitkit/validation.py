"""What is measured while training: PSNR of the luma on whole pictures, and one picture to look at."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from implicitkit.config import TrainConfig, naming
from implicitkit.degradations.base import Degradation, seeded
from implicitkit.errors import DataError
from implicitkit.images import read_image
from implicitkit.metrics import psnr_y
from implicitkit.model import ImplicitModel
from implicitkit.registries import create_degradation

SMALLEST = 4  # low-resolution pixels a side, so that something is left after shaving


class Validator:
    """Degrades pictures, the same way every time, and scores what the model makes of them.

    All pictures are read, degraded and checked when it is made, so that none can stop a run hours later.

    Raises:
        DataError: a picture is too small for one of the scales.
        ImageError: a picture cannot be read.
    """

    def __init__(self, files: Sequence[Path], config: TrainConfig) -> None:
        self.files, self.config = list(files), config.validation
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
    def __call__(self, model: ImplicitModel) -> tuple[dict[str, float], Tensor]:
        """Mean PSNR-Y in dB per task, and the first picture at the last task ``(3, H, W)``: input, output, truth."""
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
        return scores, shown

    def _centre(self, picture: Tensor) -> Tensor:
        starts = [max(0, (n - self.config.max_size) // 2) for n in picture.shape[1:]]
        return picture[:, starts[0] : starts[0] + self.config.max_size, starts[1] : starts[1] + self.config.max_size]


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

"""The examples that ``resident.py`` trains on, on the model's own device: solved holes of a pool, or whole pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from implicitkit.images import picture_files, read_image
from implicitkit.images.resize import resize, round_to_8_bits

HELD = 24  # files of a pool on the device at a time
STEPS_PER_FILE = 12  # after so many steps a file makes room for another


@dataclass
class Batch:
    """Examples on the device: pictures in [0, 1], the hole 1 where one is missing, and what the model is shown: the
    picture with its plate, or degraded.
    """

    truth: Tensor
    hole: Tensor
    shown: Tensor

    @classmethod
    def of(cls, arrays: Any, device: torch.device) -> Batch:
        """Compact arrays as they are stored."""
        return cls(*(torch.from_numpy(arrays[name]).to(device) for name in ("truth", "hole", "plate")))

    def __getitem__(self, chosen: Any) -> Batch:
        """Examples in float32."""
        truth, hole, shown = self.truth[chosen], self.hole[chosen], self.shown[chosen]
        return Batch(truth.float() / 255, hole.float(), shown.float())


def half_mirrored(count: int, device: torch.device, *pictures: Tensor) -> list[Tensor]:
    """Half of the ``count`` examples of each of ``pictures`` mirrored."""
    some = torch.rand(count, 1, 1, 1, device=device) < 0.5
    return [torch.where(some, x.flip(3), x) for x in pictures]


class Pool:
    """Some files of a pool on the device; one of them is replaced every few steps."""

    def __init__(self, folder: Path, device: torch.device, seed: int) -> None:
        self.folder, self.device, self.random = folder, device, np.random.default_rng(seed)
        while len(files := self._files()) < 2:
            time.sleep(0.5)
        self.held = [self._read(files[k % len(files)]) for k in self.random.permutation(max(HELD, len(files)))[:HELD]]
        self.size = tuple(self.held[0].truth.shape[2:])

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.npz"))

    def _read(self, file: Path) -> Batch:
        with np.load(file) as arrays:
            return Batch.of(arrays, self.device)

    def batches(self, size: int) -> Iterator[Batch]:
        """Random batches, each from four of the files that are held."""
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
            whole = [torch.cat([getattr(p, n) for p in parts])[:size] for n in ("truth", "hole", "shown")]
            yield Batch(*half_mirrored(size, self.device, *whole))


class Pictures:
    """Whole pictures of one size on the device, degraded anew each time; nothing is missing."""

    def __init__(self, folder: Path, device: torch.device, spec: Mapping[str, Any], left_out: int) -> None:
        files = picture_files([folder])
        step = len(files) / max(1, left_out)  # spread over the folder, as plates.py leaves them out
        out = {int((k + 0.5) * step) for k in range(left_out)}
        pictures = [read_image(file)[:3] for k, file in enumerate(files) if k not in out]
        self.truth = torch.stack([(x * 255).round().to(torch.uint8) for x in pictures]).to(device)
        self.size, self.device = tuple(self.truth.shape[2:]), device
        self.degrade = degrading(spec, self.size, device)

    def batches(self, size: int) -> Iterator[Batch]:
        """Random batches."""
        while True:
            chosen = torch.randint(len(self.truth), (size,), device=self.device)
            (truth,) = half_mirrored(size, self.device, self.truth[chosen].float() / 255)
            yield Batch(truth, torch.zeros_like(truth[:, :1]), self.degrade(truth))


def degrading(spec: Mapping[str, Any], size: tuple[int, ...], device: torch.device) -> Callable[[Tensor], Tensor]:
    """The degradation of a batch: gaussian noise of any strength of a range, or a magnification."""
    if spec["name"] == "noise" and spec.get("kind", "gaussian") == "gaussian":
        ends = spec["sigma"] if isinstance(spec["sigma"], list) else [spec["sigma"]] * 2

        def noisy(truth: Tensor) -> Tensor:
            sigma = ends[0] + (ends[1] - ends[0]) * torch.rand(len(truth), 1, 1, 1, device=device)
            return (truth + sigma / 255 * torch.randn_like(truth)).clamp(0, 1)

        return noisy
    if spec["name"] == "super_resolution" and not isinstance(spec["scale"], list):
        to = [int(n / spec["scale"]) for n in size]
        along = [resize(torch.eye(n)[None], (m, n), "matlab")[0].to(device) for n, m in zip(size, to, strict=True)]
        return lambda truth: round_to_8_bits((along[0] @ truth @ along[1].T).clamp(0, 1))
    raise SystemExit(f"noise, and super_resolution by one scale, are made on the device; {dict(spec)} is not")

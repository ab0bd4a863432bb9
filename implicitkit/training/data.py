"""Training crops: the picture, crop, scale, flip and points of step *t* depend on the seed and *t* alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from implicitkit.config import DataConfig
from implicitkit.coordinates import Size, cell_size, grid, mirrored
from implicitkit.degradations.base import Degradation, seeded
from implicitkit.errors import DataError, describe
from implicitkit.files import cache_folder, replacing
from implicitkit.images.io import read_picture, to_8_bits, to_tensor
from implicitkit.losses import missing_at
from implicitkit.losses.windows import window_in


class Sample(TypedDict, total=False):
    """One crop: the degraded picture, its mask, clean values at random points or at all points of a window ``(h, w)``,
    and, for losses that need it, the clean crop as ``reference``.
    """

    image: Tensor
    mask: Tensor
    coords: Tensor
    cell: Tensor
    target: Tensor
    reference: Tensor
    window: Size


def hold_out(files: Sequence[Path], count: int) -> tuple[list[Path], list[Path]]:
    """Split ``files`` into training files and ``count`` others, spread evenly over the list.

    >>> [[str(path) for path in part] for part in hold_out([Path("a"), Path("b"), Path("c")], 1)]
    [['a', 'c'], ['b']]
    """
    if count >= len(files):
        raise DataError(f"held_out is {count}, but there are only {len(files)} pictures; keep some to train on")
    chosen = {(2 * k + 1) * len(files) // (2 * count) for k in range(count)}
    return [f for k, f in enumerate(files) if k not in chosen], [f for k, f in enumerate(files) if k in chosen]


class PictureCache:
    """Decoded 8-bit RGB pictures ``(H, W, 3)``, in memory or as memory-mapped files in the user's cache folder."""

    def __init__(self, files: Sequence[Path], where: str) -> None:
        self.files, self.where = list(files), where
        self._cached: list[NDArray[np.uint8] | None] = [None] * len(self.files)
        self.sizes = [self.load(k).shape[:2] for k in range(len(self.files))]

    def load(self, k: int) -> NDArray[np.uint8]:
        """Picture ``k``; decoded at most once unless the cache is ``"none"``."""
        cached = self._cached[k]
        if cached is not None:
            return cached
        pixels = self._from_disk(self.files[k]) if self.where == "disk" else _decode(self.files[k])
        if self.where != "none":
            self._cached[k] = pixels
        return pixels

    def _from_disk(self, file: Path) -> NDArray[np.uint8]:
        stat = file.stat()
        key = hashlib.blake2b(
            f"{file.resolve()}|{stat.st_size}|{stat.st_mtime_ns}".encode(), digest_size=16
        ).hexdigest()
        stored = cache_folder() / "pictures" / f"{key}.npy"
        if not stored.exists():
            stored.parent.mkdir(parents=True, exist_ok=True)
            with replacing(stored) as temporary:
                np.save(temporary, _decode(file))
        return np.load(stored, mmap_mode="r")  # type: ignore[no-any-return]


def _decode(file: Path) -> NDArray[np.uint8]:
    picture = read_picture(file)
    return np.ascontiguousarray(np.broadcast_to(to_8_bits(picture.pixels), (*picture.size, 3)))


class TrainingCrops(Dataset[Sample]):
    """Item ``k`` is crop ``k`` of the whole run, in any worker and at any time.

    Args:
        files: pictures to crop from.
        config: crop size, points, sampling, cache.
        degradation: makes the model's input.
        seed: the run's seed.
        length: crops in the whole run (steps times batch).
        reference: whether items hold the clean crop.

    Attributes:
        largest: the size ``(H, W)`` of the largest clean crop.
    """

    def __init__(
        self,
        files: Sequence[Path],
        config: DataConfig,
        degradation: Degradation,
        seed: int,
        length: int,
        reference: bool = False,
    ) -> None:
        self.reference = reference
        self.config, self.degradation, self.seed, self.length = config, degradation, seed, length
        if not files:
            raise DataError("there is no picture to train on: all of data.folders are validated on")
        pictures = PictureCache(files, config.cache)
        sources = self._sources()
        self.largest: Size = max(sources, key=lambda source: source[0] * source[1])
        largest = max(max(source) for source in sources)
        _check_window(config, sources)
        small = [k for k, (h, w) in enumerate(pictures.sizes) if min(h, w) < largest]
        self.dropped = len(small) if config.too_small == "skip" else 0
        if small and config.too_small == "error":
            h, w = pictures.sizes[small[0]]
            raise DataError(
                f"{len(small)} of {len(files)} pictures are smaller than the largest training crop of {largest} pixels "
                f"({pictures.files[small[0]]}: {w}×{h}); set data.too_small to skip or mirror, or make "
                "data.patch or the scale smaller"
            )
        if self.dropped == len(files):
            raise DataError(f"all {len(files)} pictures are smaller than the largest training crop of {largest} pixels")
        self.pictures = pictures
        self.usable = [k for k in range(len(files)) if not (self.dropped and k in set(small))]
        areas = np.array([float(np.prod(pictures.sizes[k])) for k in self.usable])
        weights = areas if config.sampling == "area" else np.ones_like(areas)
        self._cumulative = np.cumsum(weights / weights.sum())

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, k: int) -> Sample:
        try:
            return self._sample(k)
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:  # of a plugin's degradation; a worker would end without a word
            raise RuntimeError(describe(error)) from error

    def _sample(self, k: int) -> Sample:
        generator = seeded(self.seed, k)
        config = self.config
        chosen = int(np.searchsorted(self._cumulative, float(torch.rand((), generator=generator, dtype=torch.float64))))
        pixels = self.pictures.load(self.usable[min(chosen, len(self.usable) - 1)])
        record = self.degradation.sample((3, *pixels.shape[:2]), generator)
        clean = self._crop(pixels, self.degradation.source_size((config.patch, config.patch), record), generator)
        degraded = self.degradation.apply(clean, record)
        size = degraded.reference.shape[1:]
        window: Size = (config.window, config.window) if config.window else tuple(size)
        if config.points == "window":
            chosen_points = window_in(tuple(size), window, generator)
        else:
            chosen_points = _random_points(size[0] * size[1], config.points, generator)
        if config.in_holes:
            chosen_points = self._into_holes(chosen_points, degraded.mask, size, generator)
        sample = Sample(
            image=degraded.image,
            mask=degraded.mask,
            coords=grid(size)[chosen_points],
            cell=cell_size(size)[None],
            target=degraded.reference.flatten(1).t()[chosen_points],
        )
        if config.points == "window":
            sample["window"] = window
        if self.reference:
            sample["reference"] = degraded.reference
        return sample

    @property
    def whole(self) -> bool:
        """Whether each crop is a whole picture."""
        return all(self.pictures.sizes[k] == (self.config.patch, self.config.patch) for k in self.usable)

    def _into_holes(self, points: Tensor, mask: Tensor, size: Size, generator: torch.Generator) -> Tensor:
        """``points``, a share of them replaced by missing pixels, if there are any."""
        missing = missing_at(mask[None], grid(size)[None])[0, :, 0].nonzero()[:, 0]
        count = round(self.config.in_holes * len(points)) if len(missing) else 0
        drawn = missing[torch.randint(max(1, len(missing)), (count,), generator=generator)]
        return torch.cat([drawn, points[count:]])

    def _crop(self, pixels: NDArray[np.uint8], size: Sequence[int], generator: torch.Generator) -> Tensor:
        """A random crop ``(3, *size)``, flipped and transposed at random."""
        starts = [
            int(torch.randint(max(1, n - m + 1), (), generator=generator))
            for n, m in zip(pixels.shape, size, strict=False)
        ]
        flips = torch.randint(2, (3,), generator=generator).tolist() if self.config.flips else [0, 0, 0]
        if self.config.flips == "horizontal":
            flips = [0, flips[1], 0]
        rows, columns = (_mirrored(start, m, n) for start, m, n in zip(starts, size, pixels.shape, strict=False))
        crop = (
            pixels[rows][:, columns]
            if not (isinstance(rows, slice) and isinstance(columns, slice))
            else pixels[rows, columns]
        )
        if flips[0]:
            crop = crop[::-1]
        if flips[1]:
            crop = crop[:, ::-1]
        if flips[2] and size[0] == size[1]:
            crop = crop.swapaxes(0, 1)
        return to_tensor(np.ascontiguousarray(crop))

    def _sources(self) -> list[Size]:
        """The sizes of clean crops that the degradation needs, from many samples."""
        patch = self.config.patch
        records = [self.degradation.sample((3, patch, patch), seeded(self.seed, -1, k)) for k in range(256)]
        return [self.degradation.source_size((patch, patch), record) for record in records]


def collate(samples: Sequence[Sample]) -> dict[str, Any]:
    """Stack samples into a batch; clean crops of different sizes stay a list."""
    batch: dict[str, Any] = {
        key: torch.stack([sample[key] for sample in samples])  # type: ignore[literal-required]
        for key in samples[0]
        if key not in ("reference", "window")
    }
    if "reference" in samples[0]:
        clean = [sample["reference"] for sample in samples]
        batch["reference"] = torch.stack(clean) if len({c.shape for c in clean}) == 1 else clean
    if "window" in samples[0]:
        batch["window"] = samples[0]["window"]
    return batch


def _random_points(pixels: int, points: int, generator: torch.Generator) -> Tensor:
    """The indices of random ``points``, each pixel at most once if there are enough."""
    count = min(points, pixels)
    chosen = torch.randperm(pixels, generator=generator)[:count]
    if count < points:  # repeat some pixels
        extra = torch.randint(count, (points - count,), generator=generator)
        chosen = torch.cat([chosen, chosen[extra]])
    return chosen


def _check_window(config: DataConfig, sources: Sequence[Size]) -> None:
    """Raise if the window does not fit into all outputs of the degradation, as large as its ``sources``."""
    if config.points != "window":
        return
    smallest, largest = (pick(n for source in sources for n in source) for pick in (min, max))
    if config.window is None and len(set(sources)) > 1:
        raise DataError(
            f"data.points is window, but the outputs have from {smallest} to {largest} pixels a side and a batch needs "
            f"one size; set data.window, such as data.window: {min(smallest, config.patch)}"
        )
    smallest -= len(set(sources)) > 1  # an output may be a pixel smaller than its source: round() against ceil()
    if config.window is not None and config.window > smallest:
        raise DataError(f"data.window is {config.window}, but an output may have {smallest} pixels a side; lower it")


def _mirrored(start: int, count: int, n: int) -> slice | NDArray[np.int64]:
    """``count`` positions from ``start`` on an axis of ``n``, mirrored where the axis is too short."""
    if start + count <= n:
        return slice(start, start + count)
    positions: NDArray[np.int64] = mirrored(torch.arange(start, start + count), n).numpy()
    return positions

"""Training crops: the picture, crop, scale, flip and points of step *t* depend on the seed and *t* alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from implicitkit.config import DataConfig
from implicitkit.coordinates import Size, cell_size, grid, mirrored
from implicitkit.datasets.base import HALF_GREY, Dataset, Files, Pair, as_dataset, read_pixels
from implicitkit.degradations.base import Degradation, Degraded, seeded
from implicitkit.errors import DataError, ImageError, describe
from implicitkit.files import cache_folder, replacing
from implicitkit.images.io import to_tensor
from implicitkit.losses import missing_at
from implicitkit.losses.windows import window_in

T = TypeVar("T")


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


def hold_out(files: Sequence[T], count: int) -> tuple[list[T], list[T]]:
    """Split ``files`` into training files and ``count`` others, spread evenly over the list.

    >>> [[str(path) for path in part] for part in hold_out([Path("a"), Path("b"), Path("c")], 1)]
    [['a', 'c'], ['b']]
    """
    if count >= len(files):
        raise DataError(f"held_out is {count}, but there are only {len(files)} pictures; keep some to train on")
    chosen = {(2 * k + 1) * len(files) // (2 * count) for k in range(count)}
    return [f for k, f in enumerate(files) if k not in chosen], [f for k, f in enumerate(files) if k in chosen]


class PictureCache:
    """The pictures of a dataset ``(H, W, 3)``, or its pairs, in memory or as memory-mapped files in the user's cache
    folder.

    Args:
        dataset: the pictures. On disk are those of files alone, not of pairs; others are read again.
        where: ``memory``, ``disk`` or ``none``.
        skip: whether to leave out what cannot be read.

    Attributes:
        indices: of the pictures that can be read.
        unreadable: names of the others.
        sizes: ``(H, W)`` of each that can be read; of pairs, of the input.
    """

    def __init__(self, dataset: Dataset, where: str, skip: bool = False) -> None:
        self.dataset, self.where = dataset, where
        self._cached: dict[int, Any] = {}
        self.indices: list[int] = []
        self.sizes: list[Size] = []
        self.scales: set[int] = set()
        self.unreadable: list[str] = []
        for k in range(len(dataset)):
            try:
                loaded = self._at(k)
            except ImageError:
                if not skip:
                    raise
                self.unreadable.append(dataset.names[k])
                continue
            height, width = (loaded.input if isinstance(loaded, Pair) else loaded).shape[:2]
            self.indices.append(k)
            self.sizes.append((height, width))
            self.scales |= {loaded.scale} if isinstance(loaded, Pair) else set()

    def __len__(self) -> int:
        return len(self.indices)

    def name(self, k: int) -> str:
        """What the ``k``-th of those that can be read is called."""
        return self.dataset.names[self.indices[k]]

    def load(self, k: int) -> Any:
        """The ``k``-th of those that can be read, pixels or a pair; decoded once, unless the cache is ``none``."""
        return self._at(self.indices[k])

    def _at(self, k: int) -> Any:
        if k in self._cached:
            return self._cached[k]
        file = None if self.dataset.paired else self.dataset.file(k)
        if self.where == "disk" and file is not None:
            loaded: Any = self._from_disk(file)
        else:
            loaded = self.dataset.pair(k) if self.dataset.paired else self.dataset[k]
        if self.where == "memory" or (self.where == "disk" and file is not None):
            self._cached[k] = loaded
        return loaded

    def _from_disk(self, file: Path) -> NDArray[np.uint8]:
        stat = file.stat()
        key = hashlib.blake2b(
            f"{file.resolve()}|{stat.st_size}|{stat.st_mtime_ns}".encode(), digest_size=16
        ).hexdigest()
        stored = cache_folder() / "pictures" / f"{key}.npy"
        if not stored.exists():
            stored.parent.mkdir(parents=True, exist_ok=True)
            with replacing(stored) as temporary:
                np.save(temporary, read_pixels(file))
        return np.load(stored, mmap_mode="r")  # type: ignore[no-any-return]


class TrainingCrops(torch.utils.data.Dataset[Sample]):
    """Item ``k`` is crop ``k`` of the whole run, in any worker and at any time.

    Args:
        pictures: what to crop from: a dataset, or picture files.
        config: crop size, points, sampling, cache.
        degradation: makes the model's input; None for a dataset of pairs, whose inputs are there.
        seed: the run's seed.
        length: crops in the whole run (steps times batch).
        reference: whether items hold the clean crop.

    Attributes:
        largest: the size ``(H, W)`` of the largest clean crop.
    """

    def __init__(
        self,
        pictures: Dataset | Sequence[Path],
        config: DataConfig,
        degradation: Degradation | None,
        seed: int,
        length: int,
        reference: bool = False,
    ) -> None:
        self.reference = reference
        self.config, self.degradation, self.seed, self.length = config, degradation, seed, length
        dataset = as_dataset(pictures) if len(pictures) else Files([])
        if not len(dataset):
            raise DataError("there is no picture to train on: all of data.folders are validated on")
        if dataset.paired and config.too_small == "mirror":
            raise DataError("data.too_small: mirror is not for pairs; set skip or error")
        self.pictures = PictureCache(dataset, config.cache, config.unreadable == "skip")
        self.unreadable = self.pictures.unreadable
        count = len(self.pictures)
        if not count:
            raise DataError(f"none of the {len(dataset)} pictures can be read, such as {self.unreadable[0]}")
        sources = self._sources()
        self.largest: Size = max(sources, key=lambda source: source[0] * source[1])
        largest = config.patch if dataset.paired else max(max(source) for source in sources)
        _check_window(config, sources)
        small = [k for k, (h, w) in enumerate(self.pictures.sizes) if min(h, w) < largest]
        self.dropped = len(small) if config.too_small == "skip" else 0
        if small and config.too_small == "error":
            h, w = self.pictures.sizes[small[0]]
            raise DataError(
                f"{len(small)} of {count} pictures are smaller than the largest training crop of {largest} pixels "
                f"({self.pictures.name(small[0])}: {w}×{h}); set data.too_small to skip or mirror, or make "
                "data.patch or the scale smaller"
            )
        if self.dropped == count:
            raise DataError(f"all {count} pictures are smaller than the largest training crop of {largest} pixels")
        self.usable = [k for k in range(count) if not (self.dropped and k in set(small))]
        areas = np.array([float(np.prod(self.pictures.sizes[k])) for k in self.usable])
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
        loaded = self.pictures.load(self.usable[min(chosen, len(self.usable) - 1)])
        if isinstance(loaded, Pair):
            degraded = self._paired_crop(loaded, generator)
        else:
            assert self.degradation is not None
            record = self.degradation.sample((3, *loaded.shape[:2]), generator)
            clean = self._crop(loaded, self.degradation.source_size((config.patch, config.patch), record), generator)
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
        starts, flips = self._place(pixels.shape[:2], size, generator)
        rows, columns = (_mirrored(start, m, n) for start, m, n in zip(starts, size, pixels.shape, strict=False))
        crop = (
            pixels[rows][:, columns]
            if not (isinstance(rows, slice) and isinstance(columns, slice))
            else pixels[rows, columns]
        )
        return to_tensor(_flipped(crop, flips))

    def _paired_crop(self, pair: Pair, generator: torch.Generator) -> Degraded:
        """The same random place of a pair's input, mask and target, flipped and transposed alike."""
        patch, scale = self.config.patch, pair.scale
        (top, left), flips = self._place(pair.input.shape[:2], (patch, patch), generator)
        image, target = (
            to_tensor(_flipped(p[s * top : s * (top + patch), s * left : s * (left + patch)], flips))
            for p, s in ((pair.input, 1), (pair.target, scale))
        )
        mask = torch.zeros(1, patch, patch)
        if pair.mask is not None:
            holes = _flipped(pair.mask[top : top + patch, left : left + patch], flips)
            mask = torch.from_numpy(holes > HALF_GREY).float()[None]
        return Degraded(image, mask, target, {})

    def _place(
        self, size: Sequence[int], crop: Sequence[int], generator: torch.Generator
    ) -> tuple[list[int], tuple[int, ...]]:
        """Where a crop of a picture begins, and whether it is flipped up, flipped left, and transposed."""
        starts = [
            int(torch.randint(max(1, n - m + 1), (), generator=generator)) for n, m in zip(size, crop, strict=True)
        ]
        flips = torch.randint(2, (3,), generator=generator).tolist() if self.config.flips else [0, 0, 0]
        if self.config.flips == "horizontal":
            flips = [0, flips[1], 0]
        return starts, (flips[0], flips[1], flips[2] and crop[0] == crop[1])

    def _sources(self) -> list[Size]:
        """The sizes of clean crops that the degradation needs, from many samples."""
        patch = self.config.patch
        if self.degradation is None:
            return [(patch * scale, patch * scale) for scale in self.pictures.scales]
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


def _flipped(crop: NDArray[np.uint8], flips: Sequence[int]) -> NDArray[np.uint8]:
    """``crop``, flipped up, flipped left and transposed where ``flips`` say so."""
    if flips[0]:
        crop = crop[::-1]
    if flips[1]:
        crop = crop[:, ::-1]
    if flips[2]:
        crop = crop.swapaxes(0, 1)
    return np.ascontiguousarray(crop)


def _mirrored(start: int, count: int, n: int) -> slice | NDArray[np.int64]:
    """``count`` positions from ``start`` on an axis of ``n``, mirrored where the axis is too short."""
    if start + count <= n:
        return slice(start, start + count)
    positions: NDArray[np.int64] = mirrored(torch.arange(start, start + count), n).numpy()
    return positions

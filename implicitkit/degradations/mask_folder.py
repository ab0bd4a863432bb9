"""Masks from a folder of pictures."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from implicitkit.degradations.base import uniform
from implicitkit.degradations.masks import Bin, Mask, adjust
from implicitkit.errors import DataError
from implicitkit.images.folders import pictures_in
from implicitkit.images.io import READABLE, read_mask

MAX_CROPS = 8


class MaskFolder:
    """Chooses and prepares masks among the pictures of a folder and its sub-folders.

    Args:
        folder: the folder.
        hole: which pixels are missing, ``"white"`` (brighter than half, as in Liu et al.'s test set) or ``"black"``.
        ratios: the bin of their hole ratio; None for any.
        augment: crop, mirror and turn them at random.

    Raises:
        DataError: the folder is missing or holds no pictures.
    """

    def __init__(self, folder: str | Path, hole: str, ratios: Bin | None, augment: bool) -> None:
        self.folder, self.hole, self.ratios, self.augment = Path(folder).expanduser(), hole, ratios, augment
        if not self.folder.is_dir():
            raise DataError(f"there is no folder {folder}")
        self.files = [file.relative_to(self.folder).as_posix() for file in pictures_in(self.folder, recursive=True)]
        if not self.files:
            raise DataError(f"{folder} holds no pictures ({', '.join(READABLE)})")
        self._inside: dict[str, bool] = {}

    def choose(self, generator: torch.Generator) -> dict[str, Any]:
        """A mask: file, checksum, crop (top, left, height, width, as fractions), ``mirrored`` and quarter ``turns``.

        Raises:
            DataError: no mask has a hole ratio in the bin.
        """
        order = torch.randperm(len(self.files), generator=generator).tolist()
        file = next((self.files[k] for k in order if self._lies_in_bin(self.files[k])), None)
        if file is None:
            raise DataError(f"none of the {len(self.files)} masks in {self.folder} has a hole ratio from {self.ratios}")
        whole = {"file": file, "checksum": self._checksum(file), "crop": [0.0, 0.0, 1.0, 1.0]}
        if not self.augment:
            return {**whole, "mirrored": False, "turns": 0}
        mirror, turns = torch.randint(2, (), generator=generator), torch.randint(4, (), generator=generator)
        whole |= {"mirrored": bool(mirror), "turns": int(turns)}
        mask = None if self.ratios is None else self.load(file)
        for _ in range(MAX_CROPS):
            height, width = (uniform(0.7, 1, generator) for _ in range(2))
            crop = [uniform(0, 1 - height, generator), uniform(0, 1 - width, generator), height, width]
            if mask is None or self.ratios is None or self.ratios.holds(_cropped(mask, crop)):
                return {**whole, "crop": crop}
        return whole

    def render(self, record: dict[str, Any], size: tuple[int, int]) -> Mask:
        """The mask of ``record`` at ``size`` (nearest), its edge moved so that the ratio stays in the bin.

        Raises:
            DataError: the file has changed since.
        """
        if self._checksum(record["file"]) != record["checksum"]:
            raise DataError(f"{self.folder / record['file']} has changed since the record was made")
        mask = _cropped(self.load(record["file"]), record["crop"])
        mask = np.rot90(mask[:, ::-1] if record["mirrored"] else mask, record["turns"])
        rows, columns = ((np.arange(n) + 0.5) * m // n for n, m in zip(size, mask.shape, strict=True))
        resized = mask[rows.astype(np.int64)[:, None], columns.astype(np.int64)[None, :]]
        return resized if self.ratios is None else adjust(resized, self.ratios.nearest_count(resized.mean(), size))

    def load(self, file: str) -> Mask:
        """The mask in ``file``, at its own size."""
        return read_mask(self.folder / file, self.hole, warn=False)

    def _lies_in_bin(self, file: str) -> bool:
        if self.ratios is None:
            return True
        if file not in self._inside:  # read files when first needed: the folder may be large
            self._inside[file] = self.ratios.holds(self.load(file))
        return self._inside[file]

    def _checksum(self, file: str) -> str:
        try:
            return hashlib.blake2b((self.folder / file).read_bytes(), digest_size=8).hexdigest()
        except OSError as error:
            raise DataError(f"cannot read {self.folder / file}: {error.strerror}") from None


def _cropped(mask: Mask, crop: list[float]) -> Mask:
    """The part ``crop`` (top, left, height, width, as fractions) of ``mask``; at least one pixel."""
    (top, left), (height, width) = ((crop[k] * mask.shape[0], crop[k + 1] * mask.shape[1]) for k in (0, 2))
    y, x = min(int(top), mask.shape[0] - 1), min(int(left), mask.shape[1] - 1)
    return mask[y : y + max(1, math.floor(height)), x : x + max(1, math.floor(width))]

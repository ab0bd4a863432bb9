"""Volumes as files: NIfTI, with the place of every voxel in the scanner's millimetres kept (nibabel)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from implicitkit.errors import DataError, UserError, first_line
from implicitkit.files import replacing
from implicitkit.registry.extras import require

SUFFIXES = (".nii", ".nii.gz")


@dataclass(frozen=True)
class Volume:
    """A volume of one channel.

    Attributes:
        values: ``(1, D, H, W)`` float32 in [0, 1], the axes in the file's order.
        affine: ``(4, 4)`` float64: from voxel numbers, counted from the centre of the first, to millimetres.
        low: the stored value of 0.
        high: the stored value of 1.

    >>> volume = Volume(torch.zeros(1, 4, 5, 6), np.diag([2.0, 2.0, 3.0, 1.0]))
    >>> volume.spacing, volume.resized(torch.zeros(1, 4, 5, 18)).spacing
    ((2.0, 2.0, 3.0), (2.0, 2.0, 1.0))
    """

    values: Tensor
    affine: NDArray[np.float64]
    low: float = 0.0
    high: float = 1.0

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres from voxel to voxel along each axis."""
        return tuple(float(s) for s in np.linalg.norm(self.affine[:3, :3], axis=0))

    def size_at(self, spacing: float | Sequence[float]) -> tuple[int, ...]:
        """The size at which voxels lie ``spacing`` millimetres apart, to the nearest whole voxel.

        Raises:
            ValueError: it is not one or three positive numbers.
        """
        spacings = [float(s) for s in (spacing if isinstance(spacing, Sequence) else [spacing] * 3)]
        if len(spacings) != 3 or not all(0 < s < float("inf") for s in spacings):
            raise ValueError(f"a spacing is one positive number of millimetres, or three; received {spacing!r}")
        sizes = zip(self.values.shape[1:], self.spacing, spacings, strict=True)
        return tuple(max(1, round(n * own / s)) for n, own, s in sizes)

    def resized(self, values: Tensor) -> Volume:
        """The same part of the world in other voxels: ``values`` ``(1, d, h, w)`` with the affine that goes with it."""
        step = np.array([n / m for n, m in zip(self.values.shape[1:], values.shape[1:], strict=True)])
        change = np.diag([*step, 1.0])
        change[:3, 3] = (step - 1) / 2  # borders stay, so the first centre moves
        return replace(self, values=values, affine=self.affine @ change)


def read_volume(path: str | Path) -> Volume:
    """A NIfTI file, its values between the smallest and the largest mapped to [0, 1].

    Raises:
        MissingPackageError: nibabel is not installed.
        DataError: the file cannot be read, has not three axes, or holds values that are not finite.
    """
    path = Path(path)
    nibabel = _nibabel()
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    try:
        image = nibabel.load(path)
        values = np.asarray(image.dataobj, dtype=np.float64)
    except Exception as error:  # nibabel raises many kinds
        raise DataError(f"{path} is no NIfTI file ({first_line(error)})") from None
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise DataError(f"{path} has the shape {values.shape}; a volume has three axes")
    if not np.isfinite(values).all():
        raise DataError(f"{path} holds values that are not finite")
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / ((high - low) or 1.0)
    return Volume(torch.from_numpy(scaled)[None].float(), np.asarray(image.affine, np.float64), low, high)


def write_volume(path: str | Path, volume: Volume) -> None:
    """Write a volume as float32 NIfTI, in the values of the file that it came from.

    Raises:
        MissingPackageError: nibabel is not installed.
        UserError: the name ends otherwise.
    """
    path, nibabel = Path(path), _nibabel()
    if not path.name.lower().endswith(SUFFIXES):
        raise UserError(f"a volume is written as .nii or .nii.gz; received {path}")
    values = volume.values[0].detach().cpu().double().numpy() * (volume.high - volume.low) + volume.low
    image = nibabel.Nifti1Image(values.astype(np.float32), volume.affine)
    image.header.set_xyzt_units("mm")
    with replacing(path) as temporary:
        named = temporary.with_name(temporary.name + (".nii.gz" if path.name.lower().endswith(".gz") else ".nii"))
        try:
            nibabel.save(image, named)
            named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)


def _nibabel() -> Any:
    require("volumes", "a volume")
    import nibabel

    return nibabel

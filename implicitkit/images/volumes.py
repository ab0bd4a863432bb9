"""Volumes as files: NIfTI, with the place of every voxel in the scanner's millimetres kept (nibabel)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from implicitkit.errors import DataError, UserError, first_line
from implicitkit.files import replacing
from implicitkit.registry.extras import require

SUFFIXES = (".nii", ".nii.gz")
INTERPOLATIONS = {"nearest": 0, "linear": 1, "spline": 3}
"""What makes a volume finer without having learnt: name -> order of the spline."""


@dataclass(frozen=True)
class Volume:
    """A volume of one channel.

    Attributes:
        values: ``(1, D, H, W)`` float32 in [0, 1], the axes in the file's order.
        affine: ``(4, 4)`` float64: from voxel numbers, counted from the centre of the first, to millimetres.
        low: the stored value of 0.
        high: the stored value of 1.
        space: NIfTI's number of what the millimetres are of: 1 the scanner, 2 another scan, 3 Talairach's, 4 the MNI's
            head.

    >>> volume = Volume(torch.zeros(1, 4, 5, 6), np.diag([2.0, 2.0, 3.0, 1.0]))
    >>> volume.spacing, volume.resized(torch.zeros(1, 4, 5, 18)).spacing
    ((2.0, 2.0, 3.0), (2.0, 2.0, 1.0))
    """

    values: Tensor
    affine: NDArray[np.float64]
    low: float = 0.0
    high: float = 1.0
    space: int = 2

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


def interpolate(values: Tensor, size: Sequence[int], how: str) -> Tensor:
    """A volume at another size, its borders where they were, within the range of its values.

    Args:
        values: ``(C, D, H, W)``.
        size: ``(d, h, w)``.
        how: one of :data:`INTERPOLATIONS`: a cubic ``"spline"`` goes through every voxel; ``"nearest"`` makes no new
            values, as labels need. The others average along axes that become coarser.

    Raises:
        ValueError: ``how`` is none of these.

    >>> interpolate(torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1), (4, 1, 1), "linear").flatten()
    tensor([0.0000, 0.2500, 0.7500, 1.0000])
    """
    from scipy.ndimage import zoom

    if how not in INTERPOLATIONS:
        raise ValueError(f"volumes are interpolated by {', '.join(INTERPOLATIONS)}; received {how!r}")
    own = values.shape[1:]
    finer = [m if how == "nearest" else max(n, m) for n, m in zip(own, size, strict=True)]
    zooms = [1.0, *(m / n for n, m in zip(own, finer, strict=True))]
    made = zoom(values.double().cpu().numpy(), zooms, order=INTERPOLATIONS[how], mode="nearest", grid_mode=True)
    return coarsen(torch.from_numpy(made).to(values).clamp(values.min(), values.max()), size)


def coarsen(values: Tensor, size: Sequence[int]) -> Tensor:
    """A volume ``(C, D, H, W)`` averaged along the axes that ``size`` makes shorter; along the others it has that size.

    >>> coarsen(torch.arange(4.0).reshape(1, 4, 1, 1), (2, 1, 1)).flatten()
    tensor([0.7143, 2.2857])
    """
    for axis, n in enumerate(size, start=1):
        if n < values.shape[axis]:
            rows = values.movedim(axis, -1)  # the last: PyTorch averages the rows of a column of one pixel wrongly
            shape = rows.shape[:-1]
            flat = rows.reshape(1, 1, -1, rows.shape[-1])
            flat = F.interpolate(flat, (flat.shape[2], n), mode="bilinear", antialias=True)
            values = flat.reshape(*shape, n).movedim(-1, axis)
    return values


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
        if image.get_data_dtype().kind not in "iufb":
            raise DataError(f"{path} holds {image.get_data_dtype()} voxels; a volume has one real number in each")
        values = np.asarray(image.dataobj, dtype=np.float64)
    except DataError:
        raise
    except Exception as error:  # nibabel raises many kinds
        raise DataError(f"{path} is no NIfTI file ({first_line(error)})") from None
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3 or 0 in values.shape:
        raise DataError(f"{path} has the shape {values.shape}; a volume has three axes")
    if not np.isfinite(values).all():
        raise DataError(f"{path} holds values that are not finite")
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / ((high - low) or 1.0)
    header = image.header
    codes = [int(header[name]) for name in ("sform_code", "qform_code") if name in header.keys()]  # noqa: SIM118
    space = next((code for code in codes if code), Volume.space)
    affine = np.diag([*[_millimetres(image)] * 3, 1.0]) @ np.asarray(image.affine, np.float64)
    return Volume(torch.from_numpy(scaled)[None].float(), affine, low, high, space)


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
    image.header.set_sform(volume.affine, volume.space)
    with replacing(path) as temporary:
        named = temporary.with_name(temporary.name + (".nii.gz" if path.name.lower().endswith(".gz") else ".nii"))
        try:
            nibabel.save(image, named)
            named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)


def _millimetres(image: Any) -> float:
    """The length unit of a file, in millimetres; files that name none mean those."""
    units = getattr(image.header, "get_xyzt_units", lambda: ("mm", "sec"))()
    return {"meter": 1e3, "micron": 1e-3}.get(units[0], 1.0)


def _nibabel() -> Any:
    require("volumes", "a volume")
    import nibabel

    return nibabel

"""Pairs of files: what a model sees, and what it should give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from implicitkit.datasets.base import Dataset, Pair, Pixels, checked_pair, read_pixels
from implicitkit.errors import DataError
from implicitkit.images.folders import by_name, picture_files


class PairedFiles(Dataset):
    """Files of inputs and of their targets, with masks or not.

    Args:
        inputs: files of what a model sees.
        targets: as many, of what it should give: as large, or a whole number of times as large.
        masks: as many, as large as the inputs, white where a pixel is missing; None: nothing is missing.
    """

    paired = True

    def __init__(self, inputs: Sequence[Path], targets: Sequence[Path], masks: Sequence[Path] | None = None) -> None:
        self.inputs, self.targets, self.masks = list(inputs), list(targets), None if masks is None else list(masks)

    @property
    def names(self) -> list[str]:  # type: ignore[override]
        return [str(file) for file in self.inputs]

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, k: int) -> Pixels:
        return read_pixels(self.targets[k])

    def pair(self, k: int) -> Pair:
        mask = None if self.masks is None else read_pixels(self.masks[k])[..., 0]
        return checked_pair(read_pixels(self.inputs[k]), read_pixels(self.targets[k]), mask, str(self.inputs[k]))

    def file(self, k: int) -> Path | None:
        return self.targets[k]


class Paired(PairedFiles):
    """Folders of inputs and targets, paired by name: LR and HR, degraded and clean.

    A file's partner has its name, whatever the suffix; ``x1`` to ``x8`` at the end of an input's name, as DIV2K's files
    have it, may be missing in the target's.

    Args:
        inputs: the folder of what a model sees.
        targets: the folder of what it should give.
        masks: a folder of masks by the same names, white where a pixel is missing.

    Raises:
        DataError: a folder is missing or empty, or a picture has no partner.
    """

    def __init__(self, inputs: Path, targets: Path, masks: Path | None = None) -> None:
        input_files = picture_files([Path(inputs).expanduser()])
        clean = by_name(picture_files([Path(targets).expanduser()]))
        holes = None if masks is None else by_name(picture_files([Path(masks).expanduser()]))
        super().__init__(
            input_files,
            [_partner(file, clean, targets) for file in input_files],
            None if holes is None else [_partner(file, holes, masks) for file in input_files],
        )


def _partner(file: Path, others: Mapping[str, Path], folder: Path | None) -> Path:
    plain = file.stem[:-2] if file.stem[-2:-1] == "x" and file.stem[-1:] in "12345678" else file.stem
    for stem in (file.stem, plain, plain.rstrip("_")):
        if stem in others:
            return others[stem]
    raise DataError(f"{file} has no partner of its name in {folder}; files are paired by name without suffix")

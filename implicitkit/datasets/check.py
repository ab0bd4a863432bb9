"""What a folder of pictures holds, before it is trained on: sizes, what cannot be read, what is there twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from implicitkit.datasets.base import Pixels, read_pixels
from implicitkit.errors import ImageError
from implicitkit.images.folders import picture_files

SIDE = 16  # of the grid of means by which pictures are compared
MIN_CORRELATION = (
    0.985  # correlation of these; halved and saved as JPEG, pictures keep 0.987, and two faces have up to 0.91
)
BLOCK = 256  # pictures compared at a time


@dataclass
class FolderReport:
    """What a folder holds.

    Attributes:
        files: all picture files.
        sizes: ``(H, W)`` of each that can be read.
        unreadable: the others, and why.
        duplicates: groups of files with the very same pixels.
        alike: pairs of further files that look the same: saved again, or resized.
        overlap: files that look like one of the test set, and that one.
    """

    files: list[Path]
    sizes: list[tuple[int, int]] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)
    duplicates: list[list[Path]] = field(default_factory=list)
    alike: list[tuple[Path, Path]] = field(default_factory=list)
    overlap: list[tuple[Path, Path]] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether all can be read, nothing is there twice and nothing is in the test set."""
        return not (self.unreadable or self.duplicates or self.alike or self.overlap)

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON holds it."""
        return {
            "pictures": len(self.files),
            "sizes": [list(size) for size in self.sizes],
            "unreadable": {str(file): why for file, why in self.unreadable.items()},
            "duplicates": [[str(file) for file in group] for group in self.duplicates],
            "alike": [[str(a), str(b)] for a, b in self.alike],
            "overlap": [[str(a), str(b)] for a, b in self.overlap],
        }


@dataclass(frozen=True)
class _Read:
    file: Path
    size: tuple[int, int]
    digest: bytes
    look: NDArray[np.float32]
    flat: bool


def check_folders(
    folders: Sequence[Path], against: Sequence[Path] = (), progress: Callable[[int], Any] | None = None
) -> FolderReport:
    """Read every picture under ``folders`` and compare all of them, and with those ``against`` which a model is tested.

    Args:
        folders: searched recursively.
        against: folders of test sets.
        progress: called with the number of pictures read.

    Raises:
        DataError: a folder is missing or holds no picture.

    >>> from implicitkit.files import ASSETS
    >>> check_folders([ASSETS]).sizes
    [(512, 512)]
    """
    report = FolderReport(picture_files(folders))
    tests = picture_files(against) if against else []
    read: list[_Read] = []
    for done, file in enumerate([*report.files, *tests], start=1):
        try:
            read.append(_described(file, read_pixels(file)))
        except ImageError as error:
            if done <= len(report.files):
                report.unreadable[file] = str(error).removeprefix(f"{file}").lstrip(": ")
        if progress is not None:
            progress(done)
    count = len(report.files) - len(report.unreadable)
    ours, theirs = read[:count], read[count:]
    report.sizes = [one.size for one in ours]
    groups: dict[bytes, list[Path]] = {}
    for one in ours:
        groups.setdefault(one.digest, []).append(one.file)
    report.duplicates = [group for group in groups.values() if len(group) > 1]
    firsts = list({one.digest: one for one in ours}.values())
    report.alike = [(a.file, b.file) for a, b in _alike(firsts, firsts) if str(a.file) < str(b.file)]
    report.overlap = [(a.file, b.file) for a, b in _alike(ours, theirs)]
    return report


def _described(file: Path, pixels: Pixels) -> _Read:
    height, width = pixels.shape[:2]
    digest = hashlib.blake2b(f"{height}x{width}".encode() + pixels.tobytes(), digest_size=16).digest()
    grey = Image.fromarray(pixels).convert("F").resize((SIDE, SIDE), Image.Resampling.BOX)
    look = np.asarray(grey, np.float32).ravel()
    look = look - look.mean()
    norm = float(np.linalg.norm(look))
    return _Read(file, (height, width), digest, look / max(norm, 1e-6), flat=norm < SIDE)


def _alike(ones: Sequence[_Read], others: Sequence[_Read]) -> list[tuple[_Read, _Read]]:
    """Pairs that look the same; flat pictures, which all do, only if they are of the same pixels."""
    if not ones or not others:
        return []
    table = np.stack([other.look for other in others])
    pairs = []
    for start in range(0, len(ones), BLOCK):
        block = ones[start : start + BLOCK]
        correlation = np.stack([one.look for one in block]) @ table.T
        for k, j in zip(*np.nonzero(correlation >= MIN_CORRELATION), strict=True):
            one, other = block[k], others[j]
            if one is not other and (one.digest == other.digest or not (one.flat or other.flat)):
                pairs.append((one, other))
    return pairs

"""What several commands ask of their inputs and targets, and how they read sizes and bins."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from implicitkit.errors import UserError

BIN = re.compile(r"(\d+(?:\.\d*)?)-(\d+(?:\.\d*)?)")


def find_pictures(inputs: Sequence[Path], keep: Callable[[list[Path]], list[Path]] = lambda found: found) -> list[Path]:
    """The picture files that ``inputs`` name, folders opened; a file named twice is there once.

    Args:
        inputs: files and folders.
        keep: chooses among the pictures of a folder.

    Raises:
        UserError: an input is missing, or a folder holds no picture.
    """
    from implicitkit.images.folders import pictures_in
    from implicitkit.images.io import READABLE

    sources: list[Path] = []
    for given in inputs:
        if given.is_dir():
            found = keep(pictures_in(given))
            if not found:
                raise UserError(f"{given} holds no pictures ({', '.join(READABLE)})")
            sources += found
        elif given.exists():
            sources.append(given)
        else:
            raise UserError(f"there is no file {given}")
    return list({source.resolve(): source for source in sources}.values())


def refuse_clashes(targets: Mapping[Path, Iterable[Path]]) -> None:
    """Raise :class:`UserError` if two inputs would become one file, or one would become an input.

    Args:
        targets: input -> the files it becomes.
    """
    taken: dict[Path, Path] = {}
    for source, files in targets.items():
        for file in files:
            first = taken.setdefault(file, source)
            if first != source:
                raise UserError(f"{first} and {source} would both become {file}; do them separately")
    originals = {source.resolve() for source in targets}
    for file, source in taken.items():
        if file.resolve() in originals:
            which = "the input itself" if file.resolve() == source.resolve() else "an input itself"
            raise UserError(f"{file} is {which}; choose another --output")


def check_target(target: Path, force: bool) -> None:
    """Raise :class:`UserError` if ``target`` is there already, or could not be written."""
    if target.exists() and not force:
        raise UserError(f"{target} exists; pass --force to overwrite it")
    folder = next((p for p in target.parents if p.exists()), target.parent)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder")
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder} is read-only; choose another --output")


def parse_size(text: str) -> tuple[int, int]:
    """``"1080x1920"`` as ``(1080, 1920)``: height, then width.

    Raises:
        UserError: it is not two positive numbers.
    """
    match = re.fullmatch(r"(\d+)\s*[xX×,]\s*(\d+)", text.strip())
    if match is None or int(match[1]) < 1 or int(match[2]) < 1:
        raise UserError(f"--size is HEIGHTxWIDTH in pixels, such as 1080x1920; received {text!r}")
    return int(match[1]), int(match[2])


def parse_words(text: str) -> list[str]:
    """``"2 3,4"`` as ``["2", "3", "4"]``: words between spaces or commas."""
    return text.replace(",", " ").split()


def parse_bins(text: str) -> list[tuple[float, float]]:
    """``"0-20 20-40"`` as ``[(0, 20), (20, 40)]``: hole ratios in percent.

    Raises:
        UserError: it is not some pairs of percentages, low and high.
    """
    matches = [BIN.fullmatch(word) for word in parse_words(text)]
    bins = [(float(match[1]), float(match[2])) for match in matches if match]
    if not bins or len(bins) != len(matches) or any(not low <= high <= 100 for low, high in bins):
        raise UserError(f"--bins are hole ratios in percent such as '0-20 20-40'; received {text!r}")
    return bins

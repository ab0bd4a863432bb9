"""Label maps, ADE20K's folders of them, and the mean intersection over union (mIoU)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from implicitkit import DataError
from implicitkit.evaluation import by_name
from implicitkit.images import Picture, picture_files, pictures_in, read_picture, write_picture

IGNORED_LABEL = -1
OTHER_LABEL, VOID_LABEL = 0, 255  # in a file: what ADE20K did not label, and what many tools make of that


def read_label_map(path: str | Path, classes: int) -> Tensor:
    """A label file as ``(H, W)`` int64: class ``k`` of ``0 .. classes - 1``, or -1 where a pixel does not count.

    A file holds ``k + 1`` for class ``k``; 0 (other) and, in 8 bits, 255 (void) are what does not count.

    Raises:
        ImageError: the file cannot be read.
        DataError: it is in colour, or holds a label above ``classes``.
    """
    picture = read_picture(path)
    if not picture.is_grey:
        raise DataError(f"{path} is in colour; a label map is a grey picture of class numbers")
    stored = torch.from_numpy(picture.pixels[..., 0].astype(np.int64))
    counts = stored != OTHER_LABEL if picture.bits > 8 else (stored != OTHER_LABEL) & (stored != VOID_LABEL)
    labels = torch.where(counts, stored - 1, IGNORED_LABEL)
    if int(labels.max()) >= classes:
        raise DataError(f"{path} holds the label {int(labels.max()) + 1}; there are {classes} classes")
    return labels


def write_label_map(path: str | Path, labels: Tensor) -> None:
    """Write ``(H, W)`` labels as :func:`read_label_map` reads them: ``k + 1`` for class ``k``; 16 bits if 8 do
    not hold them.
    """
    stored = labels.cpu().numpy() + 1
    kind = np.uint8 if stored.max(initial=0) < VOID_LABEL else np.uint16
    write_picture(path, Picture(stored.astype(kind)[..., None]))


def confusion(labels: Tensor, truth: Tensor, classes: int, where: Tensor | None = None) -> Tensor:
    """How often each true class (row) was called each class (column): ``(classes, classes)`` int64.

    Args:
        labels: ``(H, W)``, the answer.
        truth: ``(H, W)``, -1 where a pixel does not count.
        classes: how many there are.
        where: ``(H, W)`` booleans that restrict what counts further, to the hole for instance.
    """
    if labels.shape != truth.shape:
        raise ValueError(f"labels {tuple(labels.shape)} and truth {tuple(truth.shape)} must have one shape")
    counts = truth >= 0 if where is None else (truth >= 0) & where
    pairs = truth[counts] * classes + labels[counts]
    return torch.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def iou(table: Tensor) -> Tensor:
    """Each class's intersection over union ``(K,)`` float64, from :func:`confusion` summed over pictures; ``nan`` for
    one that is neither there nor answered.
    """
    both = table.diagonal().double()
    return both / (table.sum(0) + table.sum(1) - both)  # 0/0 is nan


def mean_iou(table: Tensor) -> float:
    """The mean of :func:`iou` over the classes that are in the truth or in the answers; ``nan`` if none is."""
    return float(iou(table).nanmean())


@dataclass(frozen=True)
class LabelledFolder:
    """Pictures with label maps, laid out as ADE20K's scene-parsing benchmark is.

    ``images/`` and ``annotations/`` hold files of the same names, in ``validation/`` sub-folders or directly, and
    ``objectInfo150.txt`` (tabs) or ``.csv`` says what the classes are called, in its last column; of several words for
    one class (``building;edifice``) the first counts, or all of them where two classes begin with the same.

    Attributes:
        folder: where it is.
        names: of the classes; label ``k + 1`` in a file is class ``k``. Where a table writes ``pool;table`` for a pool
            table, one's own list does better.
        pairs: picture and label map, by name.
    """

    folder: Path
    names: list[str]
    pairs: dict[str, tuple[Path, Path]]

    @classmethod
    def open(cls, folder: str | Path, names: Sequence[str] | None = None) -> LabelledFolder:
        """Read the layout; no picture is opened yet.

        Args:
            folder: where it is.
            names: what to call the classes, in place of the table's names.

        Raises:
            DataError: a folder is missing, a picture has no label map, or no file names the classes.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise DataError(f"there is no folder {folder}")
        rooms = []
        for room in ("images", "annotations"):
            inside = next((p for p in (folder / room / "validation", folder / room) if p.is_dir()), None)
            if inside is None:
                raise DataError(
                    f"{folder} has no folder {room}; ADE20K's layout is images/, annotations/, objectInfo150.txt"
                )
            rooms.append(inside)
        images = by_name(picture_files([rooms[0]]))
        maps = by_name(pictures_in(rooms[1]))
        missing = sorted(set(images) - set(maps))
        if missing:
            raise DataError(f"{rooms[1]} has no label map for {', '.join(missing[:3])}{' ...' if missing[3:] else ''}")
        names = class_names(folder) if names is None else list(names)
        return cls(folder, names, {name: (images[name], maps[name]) for name in images})


def class_names(folder: Path) -> list[str]:
    """The names in ``folder``'s ``objectInfo*`` file, in the order of their ``Idx``.

    Raises:
        DataError: there is no such file, or it is not one.
    """
    tables = [p for p in sorted(folder.glob("objectInfo*")) if p.suffix in (".txt", ".csv")]
    if not tables:
        raise DataError(f"{folder} has no objectInfo150.txt or .csv that names the classes")
    try:
        lines = tables[0].read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {tables[0]}: {error}") from None
    heading = lines[0] if lines else ""
    mark = "\t" if "\t" in heading else ","
    head = [word.strip().casefold() for word in heading.split(mark)]
    if head[:1] != ["idx"] or head[-1] != "name":
        raise DataError(f"{tables[0]} is not a table from Idx to Name; its first line is {heading!r}")
    rows = [line.split(mark, len(head) - 1) for line in lines[1:] if line.strip()]
    try:
        words = {int(row[0]): [word.strip() for word in re.split("[;,]", row[-1])] for row in rows}
    except ValueError:
        raise DataError(f"{tables[0]} is not a table from Idx to Name: an Idx is not a number") from None
    if sorted(words) != list(range(1, len(rows) + 1)) or any(not given[0] for given in words.values()):
        raise DataError(f"{tables[0]} must name the classes 1 to {len(rows)}, each once")
    first = [words[k][0] for k in sorted(words)]
    return [name if first.count(name) == 1 else " ".join(words[k + 1]) for k, name in enumerate(first)]

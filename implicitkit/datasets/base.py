"""The dataset contract: so many pictures, each with a name; or so many pairs of an input and its target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implicitkit.errors import DataError, ImageError
from implicitkit.images.io import read_picture, to_8_bits, to_pixels

Pixels = NDArray[np.uint8]
"""``(H, W, 3)``, or ``(H, W)`` for a mask."""
HALF_GREY = 127
"""Of a mask: above it, a pixel is missing."""


@dataclass(frozen=True)
class Pair:
    """What a model sees, and what it should give.

    Attributes:
        input: ``(h, w, 3)``, 8 bits.
        target: ``(s * h, s * w, 3)``, 8 bits, for a whole number ``s``.
        mask: ``(h, w)``, above 127 where a pixel of the input is missing; None: nowhere.
    """

    input: Pixels
    target: Pixels
    mask: Pixels | None = None

    @property
    def scale(self) -> int:
        """``s``."""
        return len(self.target) // len(self.input)


class Dataset:
    """Pictures to train on. A subclass sets ``names`` and writes :meth:`__getitem__`; one of pairs sets ``paired`` and
    writes :meth:`pair` as well. Its constructor's arguments are its options in a configuration.

    Attributes:
        names: what each picture is called in messages.
        paired: whether :meth:`pair` gives inputs; a configuration then needs no degradation.

    >>> class Grey(Dataset):
    ...     names = ["dark", "bright"]
    ...     def __getitem__(self, k):
    ...         return np.full((48, 64, 3), (40, 200)[k], np.uint8)
    >>> len(Grey()), Grey()[1].shape
    (2, (48, 64, 3))
    """

    names: Sequence[str] = ()
    paired: bool = False
    spec: Any = None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, k: int) -> Pixels:
        """Picture ``k``, ``(H, W, 3)`` of 8 bits: the target, where it is of pairs.

        Raises:
            ImageError: it cannot be read.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement __getitem__()")

    def __iter__(self) -> Iterator[Pixels]:
        return (self[k] for k in range(len(self)))

    def pair(self, k: int) -> Pair:
        """Pair ``k``, where the dataset is ``paired``."""
        raise NotImplementedError(f"{type(self).__name__} does not implement pair()")

    def file(self, k: int) -> Path | None:
        """The file of picture ``k``, if it is one: what is validated on by its file is not trained on."""
        return None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} {'pairs' if self.paired else 'pictures'})"


class Files(Dataset):
    """Picture files.

    >>> from implicitkit.files import PHOTO
    >>> Files([PHOTO])[0].shape
    (512, 512, 3)
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = list(files)

    @property
    def names(self) -> list[str]:  # type: ignore[override]
        return [str(file) for file in self.files]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, k: int) -> Pixels:
        return read_pixels(self.files[k])

    def file(self, k: int) -> Path | None:
        return self.files[k]


class Part(Dataset):
    """Some of the pictures of a dataset."""

    def __init__(self, whole: Dataset, indices: Sequence[int]) -> None:
        self.whole, self.indices, self.paired = whole, list(indices), whole.paired

    @property
    def names(self) -> list[str]:  # type: ignore[override]
        return [self.whole.names[k] for k in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, k: int) -> Pixels:
        return self.whole[self.indices[k]]

    def pair(self, k: int) -> Pair:
        return self.whole.pair(self.indices[k])

    def file(self, k: int) -> Path | None:
        return self.whole.file(self.indices[k])


class Items(Dataset):
    """The items of a ``torch.utils.data.Dataset``, or of anything else that has a length and is indexed.

    An item is a picture: a tensor ``(3, H, W)`` in [0, 1], an array ``(H, W, 3)`` of 8 bits, or a PIL image; or a tuple
    that begins with one; or a mapping with one as ``image``, or with ``input`` and ``target`` (and ``mask``): a pair.

    >>> import torch
    >>> Items([{"image": torch.zeros(3, 8, 9), "label": 4}])[0].shape
    (8, 9, 3)
    """

    def __init__(self, items: Any) -> None:
        self.items = items
        if not len(items):
            raise DataError(f"{type(items).__name__} is empty; a dataset holds pictures")
        first = items[0]
        self.paired = isinstance(first, Mapping) and "input" in first and "target" in first
        kind = type(items).__name__
        self.names = [f"{kind}[{k}]" for k in range(len(items))]
        if not self.paired:
            self[0]  # an item that is no picture is found now

    def __getitem__(self, k: int) -> Pixels:
        item = self.items[k]
        if isinstance(item, Mapping):
            key = "target" if self.paired else "image"
            if key not in item:
                raise DataError(f"{self.names[k]} has no {key!r}; it has {', '.join(map(repr, item))}")
            item = item[key]
        elif isinstance(item, tuple | list) and item:
            item = item[0]
        return as_pixels(item, self.names[k])

    def pair(self, k: int) -> Pair:
        item, name = self.items[k], self.names[k]
        mask = item.get("mask")
        return checked_pair(
            as_pixels(item["input"], name),
            as_pixels(item["target"], name),
            None if mask is None else as_pixels(mask, name)[..., 0],
            name,
        )


def as_dataset(value: Any) -> Dataset:
    """``value`` as a dataset: itself, a list of files, or anything with a length and items (see :class:`Items`).

    Raises:
        DataError: it is none of these.

    >>> as_dataset([np.zeros((8, 8, 3), np.uint8)])
    Items(1 pictures)
    """
    if isinstance(value, Dataset):
        return value
    if not (hasattr(value, "__len__") and hasattr(value, "__getitem__")) or isinstance(value, str | Mapping):
        raise DataError(
            f"a dataset has a length and items that are pictures, as a torch.utils.data.Dataset has; received "
            f"{type(value).__name__}"
        )
    if isinstance(value, list | tuple) and value and all(isinstance(item, str | Path) for item in value):
        return Files([Path(item) for item in value])
    items = Items(value)
    items.spec = getattr(value, "spec", None)
    return items


def as_pixels(picture: Any, name: str) -> Pixels:
    """A picture of any usual kind as ``(H, W, 3)`` of 8 bits.

    Raises:
        ImageError: it is none.

    >>> as_pixels(np.zeros((4, 5), np.uint8), "grey").shape
    (4, 5, 3)
    """
    expected = "(3, H, W) in [0, 1], an array (H, W, 3) of 8 bits, or a PIL image"
    if hasattr(picture, "detach"):  # a tensor
        if picture.ndim != 3 or picture.shape[0] not in (1, 3) or not picture.is_floating_point():
            shape = f"{list(picture.shape)}, {picture.dtype}"
            raise ImageError(f"{name}: a picture is a tensor {expected}; received a tensor {shape}")
        array = to_pixels(picture)
    elif hasattr(picture, "convert"):  # PIL's
        array = np.asarray(picture.convert("RGB"))
    else:
        array = np.asarray(picture)
        if array.dtype != np.uint8:
            raise ImageError(f"{name}: a picture is a tensor {expected}; received {type(picture).__name__}")
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3):
        raise ImageError(f"{name}: a picture is a tensor {expected}; received an array of shape {array.shape}")
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))


def checked_pair(given: Pixels, target: Pixels, mask: Pixels | None, name: str) -> Pair:
    """A pair whose target is a whole number of times as large as its input; the target is cut to that at its end.

    Raises:
        DataError: the sizes do not fit.
    """
    (h, w), (height, width) = given.shape[:2], target.shape[:2]
    scale = height // h
    if scale < 1 or scale != width // w:
        raise DataError(
            f"{name}: a target is a whole number of times as large as its input; received an input of {w}×{h} and a "
            f"target of {width}×{height}"
        )
    if mask is not None and mask.shape != (h, w):
        raise DataError(f"{name}: a mask has its input's size, {w}×{h}; received {mask.shape[1]}×{mask.shape[0]}")
    return Pair(given, target[: scale * h, : scale * w], mask)


def read_pixels(file: Path) -> Pixels:
    """A picture file as ``(H, W, 3)`` of 8 bits.

    Raises:
        ImageError: it cannot be read.
    """
    picture = read_picture(file)
    return np.ascontiguousarray(np.broadcast_to(to_8_bits(picture.pixels), (*picture.size, 3)))

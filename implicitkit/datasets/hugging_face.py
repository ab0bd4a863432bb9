"""Hugging Face datasets, by name or from a folder; needs ``pip install 'implicitkit[datasets]'``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from implicitkit.datasets.base import Dataset, Pair, Pixels, as_pixels, checked_pair
from implicitkit.errors import DataError, first_line
from implicitkit.registry.extras import require


class HuggingFace(Dataset):
    """The pictures of a Hugging Face dataset.

    Args:
        path: its name on the hub, or a folder: what ``save_to_disk`` wrote, or pictures. It follows ``hf:``.
        split: which part of it.
        column: the column of pictures (default: the first of pictures).
        input: the column of what a model sees, where it holds pairs; ``column`` is then the target.
        mask: the column of masks, white where a pixel of the input is missing.
        config: the configuration's name, where the dataset has several.
        revision: of the dataset on the hub.

    Raises:
        MissingPackageError: ``datasets`` is not installed.
        DataError: it cannot be loaded, or a column is missing.
    """

    def __init__(
        self,
        path: str,
        split: str = "train",
        column: str | None = None,
        input: str | None = None,
        mask: str | None = None,
        config: str | None = None,
        revision: str | None = None,
    ) -> None:
        self.rows = _load(path, split, config, revision)
        pictures = [name for name, kind in self.rows.features.items() if type(kind).__name__ == "Image"]
        if column is None and not pictures:
            raise DataError(f"hf:{path} has no column of pictures; it has {', '.join(self.rows.features)}")
        self.column = pictures[0] if column is None else column
        self.input, self.mask, self.paired = input, mask, input is not None
        if mask is not None and input is None:
            raise DataError(f"hf:{path}: mask {mask!r} goes with input, the column of what a model sees")
        for name in filter(None, (self.column, input, mask)):
            if name not in self.rows.features:
                raise DataError(f"hf:{path} has no column {name!r}; it has {', '.join(self.rows.features)}")
        self.names: Sequence[str] = [f"hf:{path}[{k}]" for k in range(len(self.rows))]

    def __getitem__(self, k: int) -> Pixels:
        return self._pixels(k, self.column)

    def pair(self, k: int) -> Pair:
        assert self.input is not None
        mask = None if self.mask is None else self._pixels(k, self.mask)[..., 0]
        return checked_pair(self._pixels(k, self.input), self[k], mask, self.names[k])

    def _pixels(self, k: int, column: str) -> Pixels:
        from implicitkit.errors import ImageError

        try:
            return as_pixels(self.rows[k][column], self.names[k])
        except (OSError, ValueError, SyntaxError) as error:  # PIL raises these for a damaged picture
            raise ImageError(f"{self.names[k]} cannot be read: {first_line(error)}") from None


def _load(path: str, split: str, config: str | None, revision: str | None) -> Any:
    require("datasets", f"hf:{path}")
    import datasets  # type: ignore[import-not-found,import-untyped,unused-ignore]

    folder = Path(path).expanduser()
    try:
        if (folder / "dataset_info.json").is_file() or (folder / "dataset_dict.json").is_file():
            stored = datasets.load_from_disk(str(folder))
            return stored[split] if isinstance(stored, dict) else stored
        if folder.is_dir():
            return datasets.load_dataset("imagefolder", data_dir=str(folder), split=split)
        return datasets.load_dataset(path, config, split=split, revision=revision)
    except KeyError:
        raise DataError(f"hf:{path} has no split {split!r}; it has {', '.join(stored)}") from None
    except Exception as error:  # it raises many kinds, for names, networks and files
        raise DataError(f"hf:{path} cannot be loaded: {first_line(error)}") from error

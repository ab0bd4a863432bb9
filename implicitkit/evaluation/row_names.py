"""What the rows of a table are called, by where their weights come from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from implicitkit.create import FILE_SUFFIXES
from implicitkit.errors import UserError

SEED = re.compile(r"seed-\d+")
WEIGHTS = ("best", "last", "model")  # of a run, of a checkpoint, of a model hub's folder


def row_names(models: Sequence[str]) -> list[str]:
    """A row's name for each model: a registered name as it is, a weight file's name without suffix, and the folder's of
    a run's weights. Where two are equal, the file's name and as many folders as it takes are added.

    Args:
        models: names of pretrained models, or weight files.

    Raises:
        UserError: one is given twice.

    >>> row_names(["runs/a/best.safetensors", "runs/LIIF/seed-0/best.safetensors", "photos.pth", "liif_small"])
    ['a', 'LIIF/seed-0', 'photos', 'liif_small']
    >>> row_names(["runs/a/best.safetensors", "runs/a/last.safetensors", "old/b/last.safetensors"])
    ['a/best', 'a/last', 'b']
    """
    paths = {model: _words(model) for model in models}
    if len({tuple(words) for words in paths.values()}) < len(models):
        twice = next(model for k, model in enumerate(models) if _words(model) in [_words(m) for m in models[:k]])
        raise UserError(f"{twice} is given twice; a table has a row for each model")
    names = {model: _short(words) for model, words in paths.items()}
    depth = 1
    while len(set(names.values())) < len(names):
        depth += 1
        counts = list(names.values())
        names = {
            model: "/".join(paths[model][-depth:]) if counts.count(name) > 1 else name for model, name in names.items()
        }
    return list(names.values())


def _words(model: str) -> list[str]:
    """The folders of a weight file and its name without suffix; a name that is no file's is one word."""
    path = Path(model).expanduser()
    return [*path.resolve().with_suffix("").parts] if path.is_file() or path.suffix in FILE_SUFFIXES else [model]


def _short(words: Sequence[str]) -> str:
    """The last word, or the folder's where it is what every run calls its weights."""
    if len(words) < 3 or words[-1] not in WEIGHTS:
        return words[-1]
    folders = words[-3:-1] if SEED.fullmatch(words[-2]) else words[-2:-1]
    return "/".join(folders)

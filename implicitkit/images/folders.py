"""The picture files of folders, and which of them are results.

Beside its results a run keeps the hidden file :data:`RECORD`, one line of JSON for each: its name, what it was made
from, the folder that was the run's ``--output``, and a fingerprint of its bytes. A picture that was put into the
folder, or in the place of a result, is not in it, and so is an input like any other.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from implicitkit.errors import DataError, UserError
from implicitkit.files import ADDRESS, check_regular
from implicitkit.images.io import READABLE

WASTE = frozenset(  # folders that systems hide by other means than a full stop, in lower case
    (
        "__macosx",
        "$recycle.bin",
        "recycler",
        "system volume information",
        "lost+found",
        "@eadir",
        "#recycle",
        "#snapshot",
    )
)

RECORD = ".implicitkit_results.jsonl"
"""The file in a folder that names the results in it. Without it they are pictures like any other."""
SAMPLE = 1 << 16  # bytes at either end of a file that its fingerprint depends on
MAX_RECORD = 1 << 28  # bytes of a record that are read


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden, a waste basket or a store of thumbnails.

    >>> is_hidden(".ipynb_checkpoints"), is_hidden("$RECYCLE.BIN"), is_hidden("train")
    (True, True, False)
    """
    return name.startswith(".") or name.casefold() in WASTE


def pictures_in(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The picture files of a folder, sorted. What is hidden is left out, and what is in hidden folders, where notebooks
    and waste baskets keep copies; links are followed. Links to nothing and pipes are left out with a warning.
    """
    paths: list[Path] = []
    walked = set()
    for here, folders, files in os.walk(folder, followlinks=True):
        walked.add(Path(here).resolve())
        inside = (Path(here, name) for name in folders if recursive and not is_hidden(name))
        folders[:] = [path.name for path in inside if path.resolve() not in walked]  # no link leads round in a circle
        paths += [Path(here, name) for name in files if not name.startswith(".")]
    named: list[Path] = sorted(p for p in paths if p.suffix.lower() in READABLE)
    reached = [p for p in named if p.is_file()]
    if others := sorted(set(named) - set(reached)):
        count = f"{len(others)} picture{'s' * (len(others) > 1)} that cannot be reached"
        example = others[0].relative_to(folder).as_posix()
        warnings.warn(f"left out of {folder}: {count}, such as {example} (links to nothing, pipes)", stacklevel=2)
    return reached


def picture_files(folders: Sequence[Path | str]) -> list[Path]:
    """All picture files under ``folders``, sorted by path, each once.

    Results of earlier runs (:func:`results_among`) are left out with a warning.

    Raises:
        DataError: a folder is missing, or holds no picture or only results.
    """
    files: list[Path] = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            if ADDRESS.match(str(folder)):
                address = re.sub(r":/(?=[^/])", "://", str(folder))  # a path has lost a slash
                raise DataError(f"{address} is an address, not a folder; download it first")
            raise DataError(f"there is no folder {folder}")
        inside = pictures_in(folder, recursive=True)
        if not inside:
            raise DataError(f"{folder} holds no pictures ({', '.join(READABLE)})")
        if results := results_among(inside, folder):
            if len(results) == len(inside):
                raise DataError(f"{folder} holds no pictures but results of earlier runs; name their folder")
            count = f"{len(results)} result{'s' * (len(results) > 1)} of earlier runs"
            example = min(results).relative_to(folder).as_posix()
            warnings.warn(
                f"left out of {folder}: {count}, such as {example}; name their folder to take them", stacklevel=2
            )
        files += [file for file in inside if file not in results]
    return list({file.resolve(): file for file in files}.values())  # folders may overlap


def by_name(files: Iterable[Path]) -> dict[str, Path]:
    """Picture files by name without suffix.

    Raises:
        DataError: two have one name.

    >>> sorted(by_name([Path("test/cat.png"), Path("test/dog.jpg")]))
    ['cat', 'dog']
    """
    named: dict[str, Path] = {}
    for file in files:
        if file.stem in named:
            raise DataError(f"{named[file.stem]} and {file} have one name; files are told apart and paired by it")
        named[file.stem] = file
    return named


@dataclass(frozen=True)
class Origin:
    """Where a result comes from.

    Attributes:
        source: the picture that it was made from.
        root: the run's folder of results.
    """

    source: Path
    root: Path

    def recorder(self, target: Path) -> Callable[[Path], None]:
        """A function of a finished temporary file, to be called before that becomes ``target``: a run that is stopped
        leaves no result unrecorded.
        """
        return partial(record, target, self)


def record(target: Path, origin: Origin, written: Path) -> None:
    """Write down that ``target``, which the file ``written`` is about to become, is a result. Where that cannot be
    written, a warning says so: the result itself is worth more.
    """
    folder, source = target.parent.resolve(), origin.source.resolve()
    size, digest = fingerprint(written)
    entry = {
        "name": target.name,
        "from": _relative(source, folder),
        "root": _relative(origin.root.resolve(), folder),
        "bytes": size,
        "fingerprint": digest,
    }
    try:
        check_regular(folder / RECORD)
        with (folder / RECORD).open("ab") as file:  # one write at the end: several processes may do so at once
            file.write(json.dumps(entry).encode() + b"\n")
    except (OSError, UserError) as error:
        why = getattr(error, "strerror", None) or error
        text = f"cannot write {target.parent / RECORD} ({why}), so a later run may take {target.name} as an input"
        warnings.warn(text, stacklevel=2)


def results_among(pictures: Iterable[Path], folder: Path) -> set[Path]:
    """Those of the pictures found in ``folder`` that are results of earlier runs and no inputs of a run on it.

    These are results in a folder of results that lies in ``folder``, and results in ``folder`` itself that were made
    from others of the pictures. So a run on a folder of results alone does take them: ``restore raw -o clean`` and
    then ``upscale clean``.
    """
    pictures = list(pictures)
    top, originals = folder.resolve(), {picture.resolve() for picture in pictures}
    records: dict[Path, dict[str, list[dict[str, Any]]]] = {}
    results = set()
    for picture in pictures:
        if picture.parent not in records:
            records[picture.parent] = _read(picture.parent / RECORD)
        entries = records[picture.parent].get(picture.name, [])
        if not entries:
            continue
        here, mark = picture.parent.resolve(), fingerprint(picture)
        for entry in entries:
            root, source = (Path(os.path.normpath(here / str(entry.get(key)))) for key in ("root", "from"))
            inside = root != top and root.is_relative_to(top)
            if (entry.get("bytes"), entry.get("fingerprint")) == mark and (inside or source in originals):
                results.add(picture)
    return results


def fingerprint(path: Path) -> tuple[int, str]:
    """The size of a file in bytes, and a digest of its first and last 64 KiB; (-1, "") where it cannot be read.

    >>> fingerprint(Path("no such file"))
    (-1, '')
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.sha256(file.read(SAMPLE))
            file.seek(max(SAMPLE, size - SAMPLE))
            digest.update(file.read(SAMPLE))
    except OSError:
        return -1, ""
    return size, digest.hexdigest()[:32]


def _relative(path: Path, folder: Path) -> str:
    """``path`` as seen from ``folder``, so that both can be moved; in full where they share no drive."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return str(path)


def _read(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The entries of a record by the results' names; lines that were damaged are left out."""
    entries: dict[str, list[dict[str, Any]]] = {}
    lines: list[bytes] = []
    with suppress(OSError, UserError):
        check_regular(path)
        with path.open("rb") as file:
            lines = file.read(MAX_RECORD).splitlines()
    for line in lines:
        with suppress(ValueError, RecursionError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                entries.setdefault(str(entry.get("name")), []).append(entry)
    return entries

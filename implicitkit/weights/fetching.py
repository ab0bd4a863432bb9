"""Get a known weight file: from the cache folder, or from the first of its sources that gives it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

from implicitkit.errors import UserError, WeightsError, first_line, quiet
from implicitkit.files import cache_folder, digest, replacing, replacing_folder
from implicitkit.weights.known import KnownFile, Source, known_file
from implicitkit.weights.sources import read_source


def announce(line: str) -> None:
    """Write a line to standard error: what is fetched, and from where."""
    sys.stderr.write(f"{line}\n")


def location(name: str) -> Path:
    """Where a known file is kept, whether it is there or not."""
    return cache_folder() / "weights" / known_file(name).file


def is_here(name: str) -> bool:
    """Whether a known file is in the cache folder.

    >>> is_here("liif_edsr_baseline") in (True, False)
    True
    """
    return location(name).exists()


def is_intact(name: str) -> bool:
    """Whether what is in the cache folder is what it should be, by its SHA-256."""
    return digest(location(name)).startswith(known_file(name).sha256)


def fetch(name: str, say: Callable[[str], None] = announce) -> Path:
    """A known file's path; it is downloaded if it is not in the cache folder, or damaged there.

    The file appears whole or not at all, its hash checked; of two processes that need it, one downloads.

    Args:
        name: of a :class:`~implicitkit.weights.known.KnownFile`.
        say: gets a line for each source that is tried, and one for each that fails.

    Raises:
        UnknownNameError: no file has this name.
        WeightsError: no source gives it; the message has each source's reason.
    """
    known, path = known_file(name), location(name)
    if _is_whole(known, path):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {path.parent}: {error.strerror or error}") from None
    with FileLock(path.parent / f".{known.file}.lock"):
        if _is_whole(known, path):  # another process has fetched it meanwhile
            return path
        if path.exists():
            say(f"{name}: {path} is damaged, or another file; it is fetched again")
        reasons = []
        for source in known.sources:
            say(f"{name}: {known.size / 1e6:.1f} MB ({known.licence}) from {source.place}")
            try:
                with quiet("huggingface_hub"):
                    _store(known, source, path)
                return path
            except Exception as error:  # no network, another file, a library that lacks: the next source
                reasons.append(f"{source.place} ({_short(error)})")
                say(f"{name}: not from there: {_short(error)}")
    damaged = f" in place of what is there, whose hash is another ({path})" if path.exists() else ""
    raise WeightsError(
        f"cannot get {name}{damaged}; tried {', '.join(reasons)}; with a network, run "
        f"`implicitkit weights get {name}`; without, copy {known.file} from a machine that has it to {path}"
    )


def _is_whole(known: KnownFile, path: Path) -> bool:
    return path.exists() and digest(path).startswith(known.sha256)


def _short(error: Exception) -> str:
    reason = getattr(error, "reason", None)  # of urllib's errors
    line = first_line(reason if isinstance(reason, OSError) else error)
    return line if len(line) <= 200 else line[:197] + "..."


def _store(known: KnownFile, source: Source, path: Path) -> None:
    """Download, convert and check a file in temporary places, then put it at ``path``."""
    with TemporaryDirectory(dir=path.parent, prefix=".") as downloads:
        content = read_source(source, Path(downloads))
    aside = path.with_name(f".{path.name}.aside")
    with (replacing_folder if known.is_folder else replacing)(path) as temporary:
        if source.convert is None:
            temporary.write_bytes(content)
        else:
            module, _, function = source.convert.partition(":")
            getattr(import_module(module), function)(content, temporary)
        if not (received := digest(temporary)).startswith(known.sha256):
            raise WeightsError(f"gives a file of SHA-256 {received}, not {known.sha256}")
        if path.is_dir():  # a damaged folder cannot be replaced in one step
            path.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)

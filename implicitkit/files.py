"""Atomic writes, and the cache folder."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from implicitkit.errors import UserError
from implicitkit.nested import MAX_NESTING, check_nesting

ASSETS = Path(__file__).parent / "assets"
"""The files that come with the package."""
PHOTO = ASSETS / "astronaut.png"  # NASA, public domain

ADDRESS = re.compile(r"(https?|ftp|s3|gs|hf|file|data):", re.IGNORECASE)  # of what is no file


def home(path: str | Path) -> Path:
    """``path`` with the user's home folder in place of a leading ``~``, as in a shell.

    Raises:
        UserError: no user has the name.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{path}: nobody's home folder is known by that name; write the path out") from None


def shipped_folder(name: str, package: Path = Path(__file__).parent) -> Path:
    """A folder that a distribution ships: inside its package as a wheel has it, or beside it as in a clone.

    >>> (shipped_folder("configs") / "liif_small.yaml").is_file()
    True
    """
    in_clone = not (package / name).is_dir() and (package.parent / "pyproject.toml").is_file()
    return (package.parent if in_clone else package) / name


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path; rename it to ``path`` when the block ends, delete it when the block raises.

    Raises:
        UserError: the folder does not exist, is read-only or is full.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "notes.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     [file.name for file in Path(folder).iterdir()]
    ['notes.txt']
    """
    path = Path(path)
    # a short name, as the path's may have the maximum length; the same suffix, by which writers choose the format
    temporary = path.with_name(f".{secrets.token_hex(4)}.part{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary.exists():
            temporary.unlink()


@contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """:func:`replacing` for a new folder; ``path`` must not exist."""
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(4)}.part")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        taken = path.is_dir() and temporary.is_dir()
        why = "another process has made it meanwhile" if taken else error.strerror or error
        raise UserError(f"cannot write {path}: {why}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        # a file's name that is not UTF-8 is written as an escape, which JSON reads back
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


WEB_PAGE = "a web page, not the file itself (its download needs another address, or a login)"
CONTENTS = {
    b"version https://git-lfs": "a Git LFS pointer, not the file itself (git lfs pull fetches it)",
    **dict.fromkeys((b"<!doctype html", b"<html"), WEB_PAGE),
    b"\x89png": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"gif8": "a GIF picture",
    b"<svg": "an SVG drawing",
    b"8bps": "a Photoshop file",
    b"v/1\1": "an OpenEXR picture",
    **dict.fromkeys((b"\xff\x0a", b"\0\0\0\x0cjxl "), "a JPEG XL picture"),
    **dict.fromkeys((b"ii*\0", b"mm\0*"), "a TIFF picture"),
    b"#?r": "a Radiance picture (.hdr)",
    b"%pdf": "a PDF document",
    b"pk\3\4": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"rar!": "a RAR archive",
    b"bzh": "a bzip2 archive",
    b"\xfd7zxz\0": "an xz archive",
    b"(\xb5/\xfd": "a Zstandard archive",
    b"\x93numpy": "a NumPy array",
    b"\x89hdf": "an HDF5 file, as Keras writes it",
    b"gguf": "a GGUF file",
    b"sqlite format 3": "a database",
    b"\x7felf": "a program",
    b"<?xml": "an XML file",
    b"\x1aE\xdf\xa3".lower(): "a video",
    b"{": "a JSON or text file",
}
BRANDS = {b"heic": "a HEIC picture", b"heix": "a HEIC picture", b"mif1": "a HEIC picture", b"avif": "an AVIF picture"}


def describe_content(path: str | Path) -> str | None:
    """What a file is, by its first bytes; None where they do not tell."""
    check_regular(path)
    with Path(path).open("rb") as file:
        head = file.read(512)
    if not head:
        return "empty (0 bytes)"
    if head[4:8] == b"ftyp":
        return BRANDS.get(head[8:12].lower(), "a video")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a WebP picture"
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"WAVE"):
        return "a video" if head[8:12] == b"AVI " else "a sound"
    if head[257:262] == b"ustar":
        return "a tar archive"
    if head[128:132] == b"DICM" or head[344:347] in (b"n+1", b"ni1"):
        return "a DICOM file" if head[128:132] == b"DICM" else "a NIfTI volume"
    if head[:1] == b"\x08" and (b"pytorch" in head[:32] or b"onnx" in head[:64]):
        return "an ONNX graph"
    if not head.strip(b"\0"):
        return "a file that begins with zeros, as downloads that were broken off do"
    start = head.lstrip(b" \t\r\n\xef\xbb\xbf").lower()
    if (known := next((what for magic, what in CONTENTS.items() if start.startswith(magic)), None)) is not None:
        return known
    with suppress(UnicodeDecodeError):
        text = codecs.getincrementaldecoder("utf-8")().decode(head, len(head) < 512)  # 512 bytes may cut a letter
        if all(letter.isprintable() or letter.isspace() for letter in text):
            return "a text file"
    return None


def check_regular(path: str | Path) -> None:
    """Raise :class:`UserError` for a pipe, a socket or a device: reading it may never end."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):  # opening it says why
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        kind = "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise UserError(f"{path} is {kind}, not a file; save it as a file first")


def read_text(path: str | Path, most: int = -1) -> str:
    """The text of a UTF-8 file, or its first ``most`` characters.

    Raises:
        UserError: there is no such file, or it holds no text.
    """
    try:
        check_regular(path)
        with Path(path).open(encoding="utf-8") as file:
            return file.read(most)
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except UnicodeDecodeError:
        raise UserError(f"cannot read {path}: it is {describe_content(path) or 'not a text in UTF-8'}") from None
    except (OSError, ValueError) as error:  # a ValueError: no path at all, as of a null character
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is no JSON, or nested too deeply.

    >>> parse_json('{"steps": [1, 2]}')
    {'steps': [1, 2]}
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_NESTING} deep") from None
    check_nesting(value)
    return value


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """The value that a JSON file holds.

    Raises:
        UserError: it cannot be read, or is damaged.
    """
    try:
        return parse_json(read_text(path))
    except ValueError as error:
        raise UserError(f"cannot read {path}: {error}") from None
    except RecursionError:
        raise UserError(f"cannot read {path}: it holds too many lists or mappings inside each other") from None


def write_kept(path: str | Path, key: Any, value: Any) -> None:
    """Keep a value that was long to compute, with all that it depends on."""
    write_text(path, json.dumps({"key": key, "value": value}, ensure_ascii=False))


def read_kept(path: str | Path, key: Any) -> Any:
    """The value that :func:`write_kept` wrote; None where there is none, or one of another key."""
    try:
        kept = parse_json(Path(path).read_text(encoding="utf-8"))
        return kept["value"] if kept["key"] == json.loads(json.dumps(key)) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


LOCK = ".lock"
"""The file in a folder by which a process says that it works there."""


def is_held(lock: Path) -> bool:
    """Whether another process or thread holds a lock now."""
    try:
        FileLock(lock, is_singleton=True).acquire(blocking=False).lock.release()
    except Timeout:
        return True
    return False


@contextmanager
def held(lock: Path, otherwise: str) -> Iterator[None]:
    """Hold a lock. The operating system releases it when the process ends, however it ends; the file may stay.

    A thread may take a lock that it holds again.

    Args:
        lock: the lock's file; its folder exists.
        otherwise: the message where another process or thread holds it.

    Raises:
        UserError: it is held, or cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with held(Path(folder) / LOCK, "another process writes there"):
    ...         is_held(Path(folder) / LOCK)  # not by another
    False
    """
    try:
        taken = FileLock(lock, is_singleton=True).acquire(blocking=False)
    except Timeout:
        raise UserError(otherwise) from None
    except OSError as error:
        raise UserError(f"cannot write {lock}: {error.strerror or error}") from None
    with taken:
        yield


@contextmanager
def writing_into(folders: Iterable[Path]) -> Iterator[None]:
    """Be the only command that writes many files into some folders, from here to the end of the context.

    Folders that are missing are made, and removed again where nothing was written. Training runs hold the same lock.

    Raises:
        UserError: another process writes into one of them, or it cannot be made.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, writing_into([Path(folder) / "large"]):
    ...     (Path(folder) / "large" / LOCK).exists()
    True
    """
    with ExitStack() as all_or_none:
        for folder in {folder.resolve(): folder for folder in folders}.values():
            all_or_none.enter_context(_alone_in(folder))
        yield


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {error.strerror or error}") from None
    taken = f"another process writes into {folder}; wait for it to end, or choose another --output"
    with held(folder / LOCK, taken):
        try:
            yield
        finally:
            with suppress(OSError):  # Windows removes it when it is released
                (folder / LOCK).unlink()
            for place in missing:
                with suppress(OSError):  # something was written
                    place.rmdir()


def digest(path: str | Path) -> str:
    """The SHA-256 of a file's content, or of the names and the content of all files in a folder."""
    path = Path(path)
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = (f"{file.relative_to(path).as_posix()} {digest(file)}" for file in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def cache_folder() -> Path:
    """``$IMPLICITKIT_CACHE``, or ``implicitkit`` in the user's cache folder.

    Raises:
        UserError: the user has no home folder, and no variable says where else.
    """
    if own := os.environ.get("IMPLICITKIT_CACHE"):
        return Path(own)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "implicitkit"
    except RuntimeError:
        raise UserError("there is no home folder to keep files in; set IMPLICITKIT_CACHE to a folder") from None

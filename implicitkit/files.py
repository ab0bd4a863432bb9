"""Files that appear whole or not at all, and where files are kept that can be made again."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from implicitkit.errors import UserError

ASSETS = Path(__file__).parent / "assets"
"""The files that come with the package."""
PHOTO = ASSETS / "astronaut.png"  # NASA, public domain


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well, and vanishes when it does not.

    Raises:
        UserError: the folder does not exist, is read-only or is full.
    """
    path = Path(path)
    # short, as the name itself may be as long as names get; the suffix stays last, as writers choose their format by it
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
    """Like :func:`replacing` for a new folder; ``path`` must not exist yet."""
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(4)}.part")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """The value that a JSON file holds.

    Raises:
        UserError: it cannot be read, or is damaged.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from None


def write_kept(path: str | Path, key: Any, value: Any) -> None:
    """Keep a value that was long to compute, with all that it depends on."""
    write_text(path, json.dumps({"key": key, "value": value}, ensure_ascii=False))


def read_kept(path: str | Path, key: Any) -> Any:
    """The value that :func:`write_kept` wrote; None where there is none, or one of another key."""
    try:
        kept = json.loads(Path(path).read_text(encoding="utf-8"))
        return kept["value"] if kept["key"] == json.loads(json.dumps(key)) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_held(lock: Path) -> bool:
    """Whether another process holds a lock now."""
    try:
        FileLock(lock).acquire(blocking=False).lock.release()
    except Timeout:
        return True
    return False


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

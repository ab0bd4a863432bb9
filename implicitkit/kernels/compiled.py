"""C files of this package, compiled on the machine that runs them: once, for what its processor can do."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from implicitkit import devices
from implicitkit.errors import UserError
from implicitkit.files import cache_folder, replacing

COMPILERS = ("cc", "gcc", "clang")
COMMON = ("-std=gnu11", "-O3", "-ffp-contract=fast", "-shared", "-fPIC")
LIBRARIES = ("-lm", "-pthread")
PATIENCE = 60.0  # seconds; it takes one or two

log = logging.getLogger(__name__)


class Library(NamedTuple):
    """What a C file became."""

    functions: ctypes.CDLL
    compiler: str


@cache
def library(source: Path) -> Library | None:
    """The file's functions; None where it cannot be compiled here, and the log (level INFO) says why.

    The library is kept in the user's cache folder, under a name made of all that went into it, so that the next process
    has it at once; where nothing can be kept, it is made anew for each process. Processes that make it at the same time
    do not disturb each other.
    """
    compiler = find_compiler()
    if compiler is None:
        log.info("there is no C compiler (%s, or $CC), so %s is not used", ", ".join(COMPILERS), source.name)
        return None
    try:
        for flags in instruction_sets():
            functions = _made([*compiler, *COMMON, *flags], source)
            if functions is not None:
                return Library(functions, compiler[0])
    except (OSError, subprocess.TimeoutExpired) as error:
        log.info("%s cannot be compiled here: %s", source.name, error)
    return None


def find_compiler() -> list[str] | None:
    """``$CC``, which may bring options, or the first of :data:`COMPILERS` that is there."""
    if os.name != "posix":  # Windows' compilers take other options
        return None
    try:
        own = shlex.split(os.environ.get("CC", ""))
    except ValueError:  # a quotation that does not end
        return None
    found = next((path for name in (own[:1] or COMPILERS) if (path := shutil.which(name))), None)
    if found is None or (sys.platform == "darwin" and found.startswith("/usr/bin/") and not _has_apples_tools()):
        return None
    return [found, *own[1:]]


def _has_apples_tools() -> bool:
    """Whether what stands for a compiler on macOS is one; else running it would open a window and ask to install it."""
    try:
        return subprocess.run(["xcode-select", "-p"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def instruction_sets() -> Iterator[tuple[str, ...]]:
    """Compiler flags for what the processor can do, the fastest first, for a compiler that may know less."""
    if (found := devices.vector_instructions()) == "AVX512":
        flags = ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma")
        if devices.bfloat16_instructions() == "AVX512-BF16":  # not AMX, which oneDNN makes more of
            yield (*flags, "-mavx512bf16")
        yield flags
    elif found == "AVX2":
        yield ("-mavx2", "-mfma")
    elif found == "NEON":
        yield ()


def _made(command: list[str], source: Path) -> ctypes.CDLL | None:
    """The kept library, or a new one; None if ``command`` does not compile the file."""
    compiler = Path(command[0]).stat()  # another version may make another library
    parts = [*command, compiler.st_size, compiler.st_mtime_ns]
    key = hashlib.blake2b(repr(parts).encode() + source.read_bytes(), digest_size=16).hexdigest()
    folder, name = _folder(), f"{source.stem}-{key}"
    with tempfile.TemporaryDirectory(prefix="implicitkit-") as aside:  # a library that is loaded needs its file no more
        built = Path(aside) / f"{name}.so"
        kept = None if folder is None else _whole(folder, name)
        if kept is not None:
            for path in (kept, built):  # what lies where nothing may be executed is loaded from elsewhere
                try:
                    if path == built:
                        shutil.copyfile(kept, built)
                    return ctypes.CDLL(str(path))
                except OSError as error:
                    log.info("%s cannot be loaded: %s", path, error)
        try:
            _run([*command, str(source), "-o", str(built), *LIBRARIES])
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip()[-500:]
            log.info("%s does not compile with %s: %s", source.name, " ".join(command), said)
            return None
        if folder is not None:
            with suppress(OSError, UserError):
                kept = folder / f"{name}-{built.stat().st_size}.so"
                with replacing(kept) as temporary:
                    shutil.copyfile(built, temporary)
                return ctypes.CDLL(str(kept))
        return ctypes.CDLL(str(built))


def _whole(folder: Path, name: str) -> Path | None:
    """The library of this name in ``folder``, if it is as long as it says: one that was cut off kills who loads it."""
    for path in folder.glob(f"{name}-*.so"):
        if path.stem == f"{name}-{path.stat().st_size}":
            return path
    return None


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=PATIENCE)


def _folder() -> Path | None:
    """Where libraries are kept: a folder that nobody else can put one into; None if there is none."""
    try:
        folder = cache_folder() / "kernels"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.stat()
        if state.st_uid == os.getuid() and not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return folder
        reason = "others can write to it"
    except (OSError, UserError) as error:
        reason = str(error)
    log.info("what is compiled cannot be kept in the cache folder: %s", reason)
    return None

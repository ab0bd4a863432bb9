"""Compile the package's C files for this machine's processor, once."""

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
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from implicitkit import devices
from implicitkit.errors import UserError
from implicitkit.files import cache_folder, replacing

COMPILERS = ("cc", "gcc", "clang")
COMPILER_FLAGS = ("-std=gnu11", "-O3", "-ffp-contract=fast", "-shared", "-fPIC")
LIBRARIES = ("-lm", "-pthread")
HEADERS = tuple(Path(__file__).with_name(name) for name in ("threads.h", "vectors.h"))  # which the files include
COMPILE_TIMEOUT_S = 60.0  # it takes one or two

log = logging.getLogger(__name__)


class Library(NamedTuple):
    """A compiled C file."""

    functions: ctypes.CDLL
    compiler: str


class ForkSafeLock:
    """A lock that a forked process finds open: the thread that held it does not exist there.

    >>> with ForkSafeLock() as lock:
    ...     lock is None
    True
    """

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


@cache
def library(source: Path) -> Library | None:
    """Compile ``source`` and load its functions; None where this fails, and the log (level INFO) says why.

    The library is cached in the user's cache folder under a hash of the sources, the flags and the compiler.
    Without a usable folder each process compiles its own. Processes may compile at the same time.
    """
    compiler = find_compiler()
    if compiler is None:
        log.info("there is no C compiler (%s, or $CC), so %s is not used", ", ".join(COMPILERS), source.name)
        return None
    try:
        for flags in instruction_sets():
            functions = _load_or_compile([*compiler, *COMPILER_FLAGS, *flags], source)
            if functions is not None:
                return Library(functions, compiler[0])
    except (OSError, subprocess.TimeoutExpired) as error:
        log.info("%s cannot be compiled here: %s", source.name, error)
    return None


def find_compiler() -> list[str] | None:
    """The words of ``$CC``, or the first installed of :data:`COMPILERS`."""
    if os.name != "posix":  # Windows' compilers take other options
        return None
    try:
        own = shlex.split(os.environ.get("CC", ""))
    except ValueError:  # a quotation that does not end
        return None
    compiler = next((path for name in (own[:1] or COMPILERS) if (path := shutil.which(name))), None)
    if compiler is None or (sys.platform == "darwin" and compiler.startswith("/usr/bin/") and not _has_apples_tools()):
        return None
    return [compiler, *own[1:]]


def _has_apples_tools() -> bool:
    """Whether macOS has its command-line tools; without them, running ``/usr/bin/cc`` opens a dialogue."""
    try:
        return subprocess.run(["xcode-select", "-p"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def instruction_sets() -> Iterator[tuple[str, ...]]:
    """Compiler flags for the processor, the fastest first; an old compiler may not know those."""
    instructions = devices.vector_instructions()
    if instructions == "AVX512":
        flags = ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma")
        if devices.bfloat16_instructions() == "AVX512-BF16":  # with AMX, oneDNN is faster
            yield (*flags, "-mavx512bf16")
        yield flags
    elif instructions == "AVX2":
        yield ("-mavx2", "-mfma")
    elif instructions == "NEON":
        yield ()


def _load_or_compile(command: list[str], source: Path) -> ctypes.CDLL | None:
    """The cached library, or a new one; None if ``command`` does not compile the file."""
    compiler = Path(command[0]).stat()  # another version may make another library
    parts = [*command, compiler.st_size, compiler.st_mtime_ns]
    text = b"".join(path.read_bytes() for path in (source, *HEADERS))
    key = hashlib.blake2b(repr(parts).encode() + text, digest_size=16).hexdigest()
    folder, name = _folder(), f"{source.stem}-{key}"
    with tempfile.TemporaryDirectory(prefix="implicitkit-") as scratch:  # a loaded library no longer needs its file
        built = Path(scratch) / f"{name}.so"
        cached = None if folder is None else _complete_file(folder, name)
        if cached is not None:
            for path in (cached, built):  # the cache folder may be mounted noexec: then load a copy
                try:
                    if path == built:
                        shutil.copyfile(cached, built)
                    return ctypes.CDLL(str(path))
                except OSError as error:
                    log.info("%s cannot be loaded: %s", path, error)
        try:
            _run([*command, f"-I{HEADERS[0].parent}", str(source), "-o", str(built), *LIBRARIES])
        except subprocess.CalledProcessError as error:
            message = error.stderr.decode(errors="replace").strip()[-500:]
            log.info("%s does not compile with %s: %s", source.name, " ".join(command), message)
            return None
        if folder is not None:
            with suppress(OSError, UserError):
                cached = folder / f"{name}-{built.stat().st_size}.so"
                with replacing(cached) as temporary:
                    shutil.copyfile(built, temporary)
                return ctypes.CDLL(str(cached))
        return ctypes.CDLL(str(built))


def _complete_file(folder: Path, name: str) -> Path | None:
    """The cached library, if its size is the one in its name: loading a truncated file kills the process."""
    for path in folder.glob(f"{name}-*.so"):
        if path.stem == f"{name}-{path.stat().st_size}":
            return path
    return None


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=COMPILE_TIMEOUT_S)


def _folder() -> Path | None:
    """The cache folder for libraries, which only this user may write to; None if there is none."""
    try:
        folder = cache_folder() / "kernels"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.stat()
        if state.st_uid == os.getuid() and not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return folder
        reason = "others can write to it"
    except (OSError, UserError) as error:
        reason = str(error)
    log.info("compiled files cannot be cached: %s", reason)
    return None

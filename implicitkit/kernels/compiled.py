"""C files of this package, compiled on the machine that runs them: once, for what its processor can do."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from implicitkit import processor
from implicitkit.atomic import replacing
from implicitkit.errors import UserError
from implicitkit.folders import cache_folder

COMPILERS = ("cc", "gcc", "clang")
COMMON = ("-std=gnu11", "-O3", "-ffp-contract=fast", "-shared", "-fPIC")
LIBRARIES = ("-lm", "-pthread")
PATIENCE = 120.0  # seconds

log = logging.getLogger(__name__)


class Library(NamedTuple):
    """What a C file became."""

    functions: ctypes.CDLL
    compiler: str
    flags: tuple[str, ...]


@cache
def library(source: Path) -> Library | None:
    """The file's functions; None where it cannot be compiled here, and the log (level INFO) says why.

    The library is kept in the user's cache folder, under a name made of all that went into it, so that the next process
    has it at once; where nothing can be written there, it is made anew for each process. Processes that make it at the
    same time do not disturb each other.
    """
    compiler, code = find_compiler(), source.read_bytes()
    if compiler is None:
        log.info("there is no C compiler (%s, or $CC), so %s is not used", ", ".join(COMPILERS), source.name)
        return None
    for flags in instruction_sets():
        command = [*compiler, *COMMON, *flags]
        key = hashlib.blake2b(repr(command).encode() + code, digest_size=16).hexdigest()
        name = f"{source.stem}-{key}.so"
        try:
            kept = cache_folder() / "kernels" / name
            return Library(_kept(kept, [*command, str(source)]), compiler[0], flags)
        except (OSError, UserError) as error:
            log.info("%s cannot be kept (%s), and is compiled for this process alone", source.name, error)
        except subprocess.SubprocessError as error:
            log.info("%s does not compile with %s: %s", source.name, " ".join(command), _reason(error))
            continue
        try:
            with tempfile.TemporaryDirectory(prefix="implicitkit-") as folder:  # once loaded, the file is not needed
                return Library(_kept(Path(folder) / name, [*command, str(source)]), compiler[0], flags)
        except (OSError, UserError, subprocess.SubprocessError) as error:
            log.info("%s cannot be compiled here: %s", source.name, _reason(error))
    return None


def find_compiler() -> list[str] | None:
    """``$CC``, which may bring options, or the first of :data:`COMPILERS` that is there."""
    if os.name != "posix":  # Windows' compilers take other options
        return None
    if own := shlex.split(os.environ.get("CC", "")):
        return own if shutil.which(own[0]) else None
    return next(([found] for name in COMPILERS if (found := shutil.which(name))), None)


def instruction_sets() -> Iterator[tuple[str, ...]]:
    """Compiler flags for what the processor can do, the fastest first, for a compiler that may know less."""
    if (found := processor.vector_instructions()) == "AVX512":
        flags = ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma")
        if processor.bfloat16_instructions() == "AVX512-BF16":  # not AMX, which oneDNN makes more of
            yield (*flags, "-mavx512bf16")
        yield flags
    elif found == "AVX2":
        yield ("-mavx2", "-mfma")
    elif found == "NEON":
        yield ()


def _kept(path: Path, command: list[str]) -> ctypes.CDLL:
    if path.is_file():
        try:
            return ctypes.CDLL(str(path))
        except OSError as error:
            log.info("%s is damaged (%s), and is made again", path, error)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        subprocess.run([*command, "-o", str(temporary), *LIBRARIES], check=True, capture_output=True, timeout=PATIENCE)
    return ctypes.CDLL(str(path))


def _reason(error: Exception) -> str:
    said = getattr(error, "stderr", None)
    return said.decode(errors="replace").strip()[-500:] if said else str(error)

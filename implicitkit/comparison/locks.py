"""One process at a time: a lock that the system gives back when its last holder has ended, however it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows: two comparisons at once on one folder are then not told apart
    fcntl = None  # type: ignore[assignment]

POLL = 0.2  # seconds


def take(file: Path) -> IO[str] | None:
    """The lock on ``file``, or None if another process has it; closed, it is given back unless a child inherited it."""
    lock = file.open("w", encoding="utf-8")
    if fcntl is not None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            return None
    return lock


def inheritable(lock: IO[str]) -> list[int]:
    """What a child process is to inherit (``pass_fds``), so that the lock is held for as long as it lives."""
    return [lock.fileno()] if fcntl is not None else []


def is_taken(file: Path) -> bool:
    """Whether another process has the lock now."""
    lock = take(file)
    if lock is not None:
        lock.close()
    return lock is None


@contextmanager
def waiting_for(file: Path, tell: Callable[[], Any]) -> Iterator[IO[str]]:
    """Hold the lock on ``file``; while another process has it, wait, having called ``tell`` once."""
    lock = take(file)
    if lock is None:
        tell()
    while lock is None:
        time.sleep(POLL)
        lock = take(file)
    with lock:
        yield lock

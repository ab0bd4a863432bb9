"""The plain path on several CPU threads: each worker evaluates a part of the queries.

PyTorch splits each operation among its threads. On values that fit a cache an operation takes some ten microseconds,
so those threads would mostly wait for each other.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import cache
from itertools import pairwise
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")
MAX_WORKERS = 8  # a worker holds the GIL for about a tenth of its time
MIN_POINTS = 1 << 10  # per worker
START_TIMEOUT_S = 30.0

_pools: dict[int, ThreadPoolExecutor | None] = {}  # by number of threads; None: the pool cannot start
_lock = threading.Lock()


def spans_of(length: int, points: int) -> list[slice]:
    """Cut ``length`` rows, ``points`` queries in all, into one part per worker."""
    threads = torch.get_num_threads()
    count = min(threads, MAX_WORKERS, length, points // MIN_POINTS)
    if count < 2 or not _threads_have_their_own_number():
        return [slice(0, length)]
    ends = [length * k // count for k in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(ends)]


def in_parallel(call: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Call each item on the pool; return the results in order.

    Workers have the caller's autocast, inference mode and context variables, and keep no graph. ``call`` must not wait
    for another thread.
    """
    pool = _pool(torch.get_num_threads()) if len(items) > 1 else None
    if pool is None:
        return [call(item) for item in items]
    inference, autocast = torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu")

    def work(item: Item) -> Result:
        modes = torch.inference_mode() if inference else torch.no_grad()
        with modes, torch.autocast("cpu", dtype=dtype, enabled=autocast):
            return call(item)

    try:
        futures = [pool.submit(copy_context().run, work, item) for item in items]
    except RuntimeError:  # the interpreter is shutting down
        return [call(item) for item in items]
    wait(futures)  # let all end before one raises
    return [future.result() for future in futures]


def _pool(threads: int) -> ThreadPoolExecutor | None:
    with _lock:
        if threads not in _pools:
            _pools[threads] = _start(threads)
        return _pools[threads]


def _start(threads: int) -> ThreadPoolExecutor | None:
    """Start workers that share ``threads``; None where they cannot start."""
    count = min(threads, MAX_WORKERS)
    executor, all_started = ThreadPoolExecutor(count, "implicitkit"), threading.Barrier(count, timeout=START_TIMEOUT_S)

    def settle() -> None:
        torch.get_num_threads()  # the first call in a thread sets the default
        all_started.wait()
        torch.set_num_threads(threads // count)  # for this thread, and as the default of new ones

    try:
        for future in [executor.submit(settle) for _ in range(count)]:
            future.result()
    except RuntimeError:  # no more threads
        all_started.abort()
        executor.shutdown(wait=False, cancel_futures=True)
        return None
    finally:
        torch.set_num_threads(threads)  # restore the default
    return executor


def _forget() -> None:
    """Drop the pools and the lock in a forked process, where their threads do not exist."""
    global _lock
    _lock = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@cache
def _threads_have_their_own_number() -> bool:
    """Whether ``torch.set_num_threads`` in one thread leaves the others alone, as it does with OpenMP."""
    return "ATen parallel backend: OpenMP" in torch.__config__.parallel_info()

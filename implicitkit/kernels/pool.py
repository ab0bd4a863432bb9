"""The plain path on several CPU threads: each evaluates some of the queries by itself.

PyTorch shares each operation among all threads. An operation on values that fit a cache takes some ten microseconds, so
that threads would mostly wait for each other. Queries need nothing of each other.
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
MAX_WORKERS = 8  # Python runs in one of them at a time, for about a tenth of its work
MIN_POINTS = 1 << 10  # that are worth a thread
START_TIMEOUT_S = 30.0

_pools: dict[int, ThreadPoolExecutor | None] = {}  # by the threads that the workers share; None: cannot be started
_lock = threading.Lock()


def spans_of(length: int, points: int) -> list[slice]:
    """Cut ``length`` rows of altogether ``points`` queries into one part for each worker."""
    threads = torch.get_num_threads()
    count = min(threads, MAX_WORKERS, length, points // MIN_POINTS)
    if count < 2 or not _threads_have_their_own_number():
        return [slice(0, length)]
    ends = [length * k // count for k in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(ends)]


def in_parallel(call: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """``call`` of each item, in their order, with the autocast, inference mode and context variables of this thread; no
    graph is kept. ``call`` must not wait for another thread.
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
    except RuntimeError:  # the interpreter is about to end, and starts nothing any more
        return [call(item) for item in items]
    wait(futures)  # none is at work any more when an error is raised
    return [future.result() for future in futures]


def _pool(threads: int) -> ThreadPoolExecutor | None:
    with _lock:
        if threads not in _pools:
            _pools[threads] = _started(threads)
        return _pools[threads]


def _started(threads: int) -> ThreadPoolExecutor | None:
    """Workers that share ``threads`` between them."""
    count = min(threads, MAX_WORKERS)
    executor, all_started = ThreadPoolExecutor(count, "implicitkit"), threading.Barrier(count, timeout=START_TIMEOUT_S)

    def settle() -> None:
        torch.get_num_threads()  # the first call in a thread sets the default
        all_started.wait()
        torch.set_num_threads(threads // count)  # of this thread, and the default of new ones

    try:
        for future in [executor.submit(settle) for _ in range(count)]:
            future.result()
    except RuntimeError:  # no more threads can be started
        all_started.abort()
        executor.shutdown(wait=False, cancel_futures=True)
        return None
    finally:
        torch.set_num_threads(threads)  # the default again
    return executor


def _forget() -> None:
    """Drop the pools in a forked process, where their threads do not exist, and a lock that another thread held."""
    global _lock
    _lock = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@cache
def _threads_have_their_own_number() -> bool:
    """Whether ``torch.set_num_threads`` in one thread leaves the others alone, as it does with OpenMP."""
    return "ATen parallel backend: OpenMP" in torch.__config__.parallel_info()

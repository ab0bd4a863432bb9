"""Many blocks of a picture at a time on a CPU: every thread has a block of its own.

PyTorch's own way is to share each operation among all threads. An operation on a block that fits a cache takes some ten
microseconds, so that much of the time goes into waiting for each other and into fetching what another core has just
written. Blocks need nothing of each other.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import ContextVar, copy_context
from functools import cache
from itertools import islice
from typing import NamedTuple, TypeVar

import torch
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import _get_current_dispatch_mode

Item = TypeVar("Item")
Result = TypeVar("Result")
MOST = 8  # Python runs on one of them at a time, for about a tenth of what a block takes
AHEAD = 2  # blocks begun or waiting for each worker


class _Pool(NamedTuple):
    executor: ThreadPoolExecutor
    made_for: tuple[int, int]  # process, threads


_pool: _Pool | None = None
_lock = threading.Lock()
_inside: ContextVar[bool] = ContextVar("inside", default=False)


def workers() -> int:
    """How many blocks :func:`in_order` evaluates at a time here and now; 1 where that is best left to PyTorch."""
    threads = torch.get_num_threads()
    alone = (
        threads < 2
        or _inside.get()
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
        # what looks on or takes over does so in the thread that it was entered in
        or _get_current_dispatch_mode() is not None
        or _get_current_function_mode_stack()
        or torch._C._functorch.peek_interpreter_stack() is not None
        or not _threads_are_per_thread()
    )
    return 1 if alone else min(threads, MOST)


def in_order(call: Callable[[Item], Result], items: Iterable[Item], count: int) -> Generator[Result]:
    """``call`` of each item, in their order, while the next ones are being evaluated: ``count`` at a time, which is 1
    or what :func:`workers` says. No graph is kept.

    The calls see the autocast and inference mode, and the context variables, of the thread that asks first. An
    exception ends it where its item's turn comes.
    """
    if count == 1:
        yield from map(call, items)
        return
    executor, rest = _executor(torch.get_num_threads()), iter(items)
    context, modes = copy_context(), _modes()

    def work(item: Item) -> Result:
        _inside.set(True)
        with modes():
            return call(item)

    def submit(how_many: int) -> None:
        waiting.extend(executor.submit(context.copy().run, work, item) for item in islice(rest, how_many))

    waiting: deque[Future[Result]] = deque()
    try:
        submit(AHEAD * count)
        while waiting:
            result = waiting.popleft().result()
            submit(1)
            yield result
    finally:
        for future in waiting:
            future.cancel()
        for future in waiting:
            if not future.cancelled():
                future.exception()  # none is at work any more when this returns


def _modes() -> Callable[[], ExitStack]:
    """A function that enters, in another thread, the modes that this one is in."""
    inference, autocast = torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu")

    def enter() -> ExitStack:
        stack = ExitStack()
        stack.enter_context(torch.inference_mode() if inference else torch.no_grad())
        stack.enter_context(torch.autocast("cpu", dtype=dtype, enabled=autocast))
        return stack

    return enter


def _executor(threads: int) -> ThreadPoolExecutor:
    """The process's workers, which share ``threads`` between them."""
    global _pool
    made_for = (os.getpid(), threads)  # threads do not survive a fork
    with _lock:
        if _pool is None or _pool.made_for != made_for:
            if _pool is not None and _pool.made_for[0] == os.getpid():
                _pool.executor.shutdown(wait=False)  # what it has begun or taken, it still does
            count = min(threads, MOST)
            all_there = threading.Barrier(count)

            def settle() -> None:
                torch.get_num_threads()  # sets it, when first asked in a thread, to the default: only then
                torch.set_num_threads(threads // count)  # this thread's, and the default of new ones
                all_there.wait()

            executor = ThreadPoolExecutor(count, thread_name_prefix="implicitkit")
            for future in [executor.submit(settle) for _ in range(count)]:
                future.result()
            torch.set_num_threads(threads)  # the default again
            _pool = _Pool(executor, made_for)
        return _pool.executor


@cache
def _threads_are_per_thread() -> bool:
    """Whether ``torch.set_num_threads`` in one thread leaves the others alone, which is so with OpenMP."""
    return "ATen parallel backend: OpenMP" in torch.__config__.parallel_info()

"""Many blocks of a picture at a time on a CPU: every thread has a block of its own.

PyTorch's own way is to share each operation among all threads. An operation on a block that fits a cache takes some ten
microseconds, so that much of the time goes into waiting for each other and into fetching what another core has just
written. Blocks need nothing of each other.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar, copy_context
from functools import cache, partial
from itertools import islice
from typing import TypeVar

import torch
from torch.overrides import _get_current_function_mode_stack

from implicitkit.kernels.modes import values_alone

Item = TypeVar("Item")
Result = TypeVar("Result")
MOST = 8  # Python runs on one of them at a time, for about a tenth of what a block takes
AHEAD = 2  # blocks begun or waiting for each worker
PATIENCE = 30.0  # seconds for threads to start

_pools: dict[int, ThreadPoolExecutor] = {}  # by the threads that the workers share
_lock = threading.Lock()
_inside: ContextVar[bool] = ContextVar("inside", default=False)


def workers() -> int:
    """How many blocks :func:`in_order` evaluates at a time here and now; 1 where that is best left to PyTorch."""
    threads = torch.get_num_threads()
    alone = (
        threads < 2
        or _inside.get()
        # what looks on or takes over does so in the thread that it was entered in
        or not values_alone()
        or torch.autograd._profiler_enabled()  # type: ignore[attr-defined]
        or _get_current_function_mode_stack()
        or not _threads_are_per_thread()
    )
    return 1 if alone else _share(threads)


def _share(threads: int) -> int:
    """How many workers: one for each thread, or so many up to :data:`MOST` that few threads are left over."""
    if threads <= MOST:
        return threads
    return max(range(MOST // 2 + 1, MOST + 1), key=lambda count: (threads // count * count, count))


@contextmanager
def no_workers() -> Iterator[None]:
    """Within it, all is evaluated by this thread, with PyTorch's own: for who holds what a worker may wait for."""
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


def in_order(call: Callable[[Item], Result], items: Iterable[Item], count: int, *, alone: int = 0) -> Generator[Result]:
    """``call`` of each item, in their order, while the next ones are being evaluated: ``count`` at a time, which is 1
    or what :func:`workers` says. No graph is kept.

    The calls see the autocast and inference mode, and the context variables, of the thread that asks first. The first
    ``alone`` are evaluated by that thread itself, one by one and with all of PyTorch's threads. An exception ends it
    where its item's turn comes.
    """
    rest = iter(items)
    yield from map(call, islice(rest, alone))
    executor = _executor(torch.get_num_threads()) if count > 1 else None
    if executor is None:
        yield from map(call, rest)
        return
    context, modes, process = copy_context(), _modes(), os.getpid()

    def work(item: Item) -> Result:
        _inside.set(True)
        with modes():
            return call(item)

    def submit(how_many: int) -> None:
        for item in islice(rest, how_many):
            own = context.copy()
            try:
                waiting.append(executor.submit(own.run, work, item))
            except RuntimeError:  # the interpreter is about to end, and starts nothing any more
                waiting.append(_done(partial(own.run, work, item)))

    waiting: deque[Future[Result]] = deque()
    try:
        submit(AHEAD * count)
        while waiting:
            if os.getpid() != process:
                raise RuntimeError("this was begun before the process forked, and cannot be finished after it")
            result = waiting.popleft().result()
            submit(1)
            yield result
    finally:
        for future in waiting:
            future.cancel()
        if os.getpid() == process and not _inside.get():  # else it would wait for threads that are not, or for itself
            for future in waiting:
                if not future.cancelled():
                    future.exception()  # none is at work any more when this returns


def _done(call: Callable[[], Result]) -> Future[Result]:
    future: Future[Result] = Future()
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)
    return future


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


def _executor(threads: int) -> ThreadPoolExecutor | None:
    """Workers that share ``threads`` between them; None where so many cannot be started."""
    with _lock:
        if threads not in _pools:
            made = _started(threads)
            if made is None:
                return None
            _pools[threads] = made
        return _pools[threads]


def _started(threads: int) -> ThreadPoolExecutor | None:
    count = _share(threads)
    executor, all_there = ThreadPoolExecutor(count, "implicitkit"), threading.Barrier(count, timeout=PATIENCE)

    def settle() -> None:
        torch.get_num_threads()  # sets it, when first asked in a thread, to the default: only then
        all_there.wait()  # for each to be a thread of its own, and for what follows to take no time
        torch.set_num_threads(threads // count)  # this thread's, and the default of new ones

    try:
        for future in [executor.submit(settle) for _ in range(count)]:
            future.result()
    except BaseException as error:
        all_there.abort()
        executor.shutdown(wait=False, cancel_futures=True)
        if not isinstance(error, RuntimeError):  # no thread can be started, or not soon
            raise
        return None
    finally:
        torch.set_num_threads(threads)  # the default again
    return executor


def _forget() -> None:
    """In a forked process: threads do not survive a fork, and the lock may have been held."""
    global _lock
    _lock = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@cache
def _threads_are_per_thread() -> bool:
    """Whether ``torch.set_num_threads`` in one thread leaves the others alone, which is so with OpenMP."""
    return "ATen parallel backend: OpenMP" in torch.__config__.parallel_info()

"""Settings of the whole process that a plugin may change while it loads, and how they are put back.

A plugin registers names; what else its import does (a seed, a default dtype, another current folder) would change the
results of every later command without a word.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib.abc
import importlib.util
import locale
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

Setting = tuple[Callable[[], Any], Callable[[Any], Any]]  # how to read it, and how to put it back


def _attribute(owner: Any, name: str) -> Setting:
    return partial(getattr, owner, name), partial(setattr, owner, name)


def _folder() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:  # it was removed
        return None


def _change_folder(folder: Path | None) -> None:
    if folder is not None:
        os.chdir(folder)


def _umask() -> int:
    mask = os.umask(0o077)  # there is no way to read it alone
    os.umask(mask)
    return mask


def _handler(number: int) -> Setting:
    def put(handler: Any) -> None:
        if handler is not None and threading.current_thread() is threading.main_thread():  # elsewhere none can be set
            signal.signal(number, handler)

    return partial(signal.getsignal, number), put


def _process() -> list[Setting]:
    return [
        (_folder, _change_folder),  # else relative paths mean other files
        (_umask, os.umask),
        (partial(locale.setlocale, locale.LC_ALL), partial(locale.setlocale, locale.LC_ALL)),
        (random.getstate, random.setstate),
        (sys.getrecursionlimit, sys.setrecursionlimit),
        (gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
        (lambda: list(warnings.filters), _keep_warnings),
        *(_handler(getattr(signal, name)) for name in ("SIGINT", "SIGTERM", "SIGPIPE") if hasattr(signal, name)),
        *(_attribute(sys, name) for name in ("excepthook", "unraisablehook", "displayhook")),
        _attribute(threading, "excepthook"),
        _attribute(warnings, "showwarning"),
    ]


def _keep_warnings(filters: list[Any]) -> None:
    """A plugin may silence its own warnings; it makes none an error."""
    warnings.filters[:] = [rule for rule in warnings.filters if rule in filters or rule[0] != "error"]  # type: ignore[index]


def _numpy(numpy: Any) -> list[Setting]:
    def state() -> Any:
        kind, keys, *rest = numpy.random.get_state()
        return kind, keys.tolist(), *rest

    return [
        (state, numpy.random.set_state),
        (numpy.geterr, lambda kinds: numpy.seterr(**kinds)),
        (numpy.get_printoptions, lambda options: numpy.set_printoptions(**options)),
    ]


def _torch(torch: Any) -> list[Setting]:
    printing = torch._tensor_str.PRINT_OPTS  # which has no public reader
    deterministic = torch.are_deterministic_algorithms_enabled, torch.is_deterministic_algorithms_warn_only_enabled
    return [
        (torch.get_default_dtype, torch.set_default_dtype),
        (torch.is_grad_enabled, torch.set_grad_enabled),
        (torch.get_default_device, lambda at: torch.set_default_device(None if at == torch.device("cpu") else at)),
        (
            lambda: [read() for read in deterministic],
            lambda put: torch.use_deterministic_algorithms(put[0], warn_only=put[1]),
        ),
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        (torch.get_num_threads, torch.set_num_threads),
        (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
        (
            lambda: torch.random.default_generator.get_state().tolist(),
            lambda state: torch.random.default_generator.set_state(
                torch.tensor(state, dtype=torch.uint8, device="cpu")
            ),
        ),
        (lambda: dict(vars(printing)), vars(printing).update),
        *(_attribute(torch.backends.cudnn, name) for name in ("benchmark", "deterministic", "enabled")),
    ]


LIBRARIES: dict[str, Callable[[Any], list[Setting]]] = {"numpy": _numpy, "torch": _torch}


class _Watch(importlib.abc.MetaPathFinder):
    """Calls ``note`` with each module of :data:`LIBRARIES` as soon as it is imported, before a plugin can use it."""

    def __init__(self, note: Callable[[ModuleType], None]) -> None:
        self.note, self.awaited = note, set(LIBRARIES) - set(sys.modules)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's own spec, whose loader notes it."""
        if fullname not in self.awaited:
            return None
        self.awaited.discard(fullname)  # the finders behind this one answer now
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader  # a method of which is covered once
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                del loader.exec_module
                execute(module)
                self.note(module)

            loader.exec_module = exec_module
        return spec


class _Diversion:
    """Sends what is written to the process's stdout past Python, by C code or programs, to its stderr.

    Several threads may be in it; the last one out puts it back.
    """

    def __init__(self) -> None:
        self.lock, self.inside, self.kept = threading.Lock(), 0, -1

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.kept = -1
                with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or no file of the system's
                    sys.__stdout__.flush()  # type: ignore[union-attr]
                    self.kept = os.dup(1)
                    os.dup2(2, 1)

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0 and self.kept >= 0:
                with contextlib.suppress(OSError, AttributeError, TypeError):  # Windows has no such library
                    ctypes.CDLL(None).fflush(None)  # what C code holds back
                os.dup2(self.kept, 1)
                os.close(self.kept)


_DIVERSION = _Diversion()


@contextmanager
def contained() -> Iterator[None]:
    """Run what a plugin does, and put the process's settings back; what it prints goes to stderr.

    Results may be read from stdout. A library's settings are those before, or those of its first import. Variables of
    the environment stay, as plugins set them for libraries that they load later.
    """
    before: list[tuple[Setting, Any]] = []

    def note(settings: list[Setting]) -> None:
        before.extend((setting, setting[0]()) for setting in settings)

    note(_process())
    for name, settings in LIBRARIES.items():
        if name in sys.modules:
            note(settings(sys.modules[name]))
    watch = _Watch(lambda module: note(LIBRARIES[module.__name__](module)))
    sys.meta_path.insert(0, watch)
    try:
        with redirect_stdout(sys.stderr), _DIVERSION:
            yield
    finally:
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(watch)
        for (read, put), value in before:
            if read() != value:
                put(value)

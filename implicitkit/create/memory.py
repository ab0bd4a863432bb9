"""Networks whose numbers are each in range, but whose weights together do not fit into memory."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from implicitkit.devices import free_memory, is_out_of_memory
from implicitkit.errors import ConfigError

UNASKED_BYTES = 1 << 29  # bytes of weights that a network may have without being asked
CPU = torch.device("cpu")
_copies: ContextVar[int] = ContextVar("copies", default=1)


class TooLargeError(MemoryError):
    """A network has more weights than were allowed."""


def build_within_memory(
    build: Callable[..., Any], arguments: Mapping[str, Any], defaults: Mapping[str, Any] = MappingProxyType({})
) -> Any:
    """``build(**arguments)``, a network; refused before its weights are filled if they do not fit into free memory.

    Args:
        build: makes the network; called again, with weights that take no memory, if it has more than 512 MiB of them.
        arguments: what it is given.
        defaults: of the arguments left out; the message names the two numbers that matter most.

    Raises:
        ConfigError: the weights do not fit.

    >>> def square(size):
    ...     return nn.Linear(size, size)
    >>> build_within_memory(square, {"size": 3})
    Linear(in_features=3, out_features=3, bias=True)
    """
    state, copies = torch.get_rng_state(), _copies.get()
    with _counted(UNASKED_BYTES) as count:
        try:
            return build(**arguments)
        except Exception:  # who wrote the network may have made another error of ours
            if count[0] <= UNASKED_BYTES:
                raise
    torch.set_rng_state(state)
    needed, free = weight_bytes(build, arguments), free_memory(CPU) // copies
    if needed is None or needed <= free:
        with _counted(free):
            return build(**arguments)
    numbers = {**defaults, **arguments}
    halves = {name: half for name, value in numbers.items() if name != "ndim" and (half := _halved(value)) is not None}
    smaller = {name: weight_bytes(build, {**arguments, name: half}) for name, half in halves.items()}
    gains = {name: needed - size for name, size in smaller.items() if size is not None and size < needed}
    most = sorted(gains, key=lambda name: -gains[name])[:2]
    lower = " or ".join(f"{name} ({numbers[name]})" for name in most) or "its numbers"
    size = f"{needed * copies / 1e9:,.1f} GB" if needed < float("inf") else "more than this machine can have"
    what = "its weights alone take" if copies == 1 else "its weights, their gradients and moments take"
    raise ConfigError(f"{what} {size}, {free * copies / 1e9:,.1f} GB are free; lower {lower}")


@contextmanager
def to_train() -> Iterator[None]:
    """In this context networks are built to be trained: for each weight there are a gradient and Adam's two moments."""
    token = _copies.set(4)
    try:
        yield
    finally:
        _copies.reset(token)


def weight_bytes(build: Callable[..., Any], arguments: Mapping[str, Any]) -> float | None:
    """Bytes of the weights of ``build(**arguments)``, which is built without them; infinite if one alone is more than
    can be allocated; None if it cannot be built so.

    >>> weight_bytes(nn.Linear, {"in_features": 30_000, "out_features": 30_000})
    3600120000.0
    """
    state = torch.get_rng_state()
    with warnings.catch_warnings(), _counted(None) as count:
        warnings.simplefilter("ignore")  # of weights that are loaded into none
        try:
            build(**arguments)
        except Exception as error:  # of whoever wrote it; a network without weights may fail where it computes
            return float("inf") if is_out_of_memory(error) else None
        finally:
            torch.set_rng_state(state)
    return float(count[0])


@contextmanager
def _counted(most: int | None) -> Iterator[list[int]]:
    """Count the bytes of weights that this thread registers; above ``most`` raise :class:`TooLargeError`. None: all of
    them are put on the meta device, where they take no memory.
    """
    count, thread = [0], threading.get_ident()

    def registered(module: nn.Module, name: str, weight: nn.Parameter | None) -> nn.Parameter | None:
        if weight is None or weight.is_meta or threading.get_ident() != thread:
            return None
        count[0] += weight.numel() * weight.element_size()
        if most is not None:
            if count[0] > most:
                raise TooLargeError
            return None
        return nn.Parameter(torch.empty_like(weight, device="meta"), requires_grad=weight.requires_grad)

    handle = register_module_parameter_registration_hook(registered)  # type: ignore[arg-type]
    try:
        yield count
    finally:
        handle.remove()


def _halved(value: Any) -> Any:
    """Half of a number above one, or of all numbers of a list; None for others."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 1:
        return value // 2
    if isinstance(value, (list, tuple)) and value:
        halves = [_halved(inner) for inner in value]
        return None if None in halves else type(value)(halves)
    return None

"""What ``print()`` says of a thing: one line."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Mapping
from typing import Any

PLAIN_TYPES = (bool, int, float, str, list, tuple, dict)
MAX_ITEMS, MAX_LETTERS = 8, 60


def with_settings(thing: Any, *more: str) -> str:
    """The class of ``thing`` and what its constructor takes, as far as it keeps plain values under the same names.

    >>> class Largest:
    ...     def __init__(self, shave=0, mask=None):
    ...         self.shave = shave
    >>> with_settings(Largest(4), "in dB")
    'Largest(shave=4, in dB)'
    """
    try:
        names = list(inspect.signature(type(thing)).parameters)
    except (TypeError, ValueError):  # a class written in C
        names = []
    held = {name: getattr(thing, name, None) for name in names}
    return in_brackets(thing, {name: value for name, value in held.items() if isinstance(value, PLAIN_TYPES)}, *more)


def in_brackets(thing: Any, settings: Mapping[str, Any], *more: str) -> str:
    """The class of ``thing`` with ``settings``, long ones cut, and ``more``.

    >>> in_brackets(3, {"base": list(range(100))}, "a number")
    'int(base=[0, 1, 2, 3, 4, 5, 6, 7, ...], a number)'
    """
    short = reprlib.Repr()
    short.maxlist = short.maxtuple = short.maxdict = MAX_ITEMS
    short.maxstring = short.maxother = MAX_LETTERS
    return f"{type(thing).__name__}({', '.join([*(f'{k}={short.repr(v)}' for k, v in settings.items()), *more])})"


def size_in_words(parameters: int) -> str:
    """A number of parameters, as is read at a glance.

    >>> size_in_words(27), size_in_words(346_883), size_in_words(22_023_873)
    ('27 parameters', '0.35 M parameters', '22 M parameters')
    """
    return f"{parameters / 1e6:.2g} M parameters" if parameters >= 10_000 else f"{parameters:,} parameters"

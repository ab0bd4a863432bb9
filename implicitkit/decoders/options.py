"""The options of a question: declared by a decoder as name -> default, checked, and read from a command line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from implicitkit.config import parse


def check_options(decoder: str, known: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` of ``decoder`` completed by the defaults in ``known``, whose types they must have.

    Raises:
        ValueError: one is unknown, or of another type.

    >>> check_options("linf", {"temperature": 0.0, "seed": 0}, {"temperature": 1})
    {'temperature': 1.0, 'seed': 0}
    """
    checked = dict(known)
    for name, value in options.items():
        if name not in known:
            names = f"it knows {', '.join(known)}" if known else "it takes none"
            raise ValueError(f"{decoder} has no option {name!r}; {names}")
        checked[name] = _like(decoder, name, value, known[name])
    return checked


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Options of a command line, ``KEY=VALUE`` each; values are read as YAML.

    Raises:
        ValueError: a pair has no ``=``, or a key comes twice.
        ConfigError: a value is not YAML that can be used.

    >>> parse_options(["temperature=8e-1", "seed=3"])
    {'temperature': 0.8, 'seed': 3}
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not (key and equals):
            raise ValueError(f"--option takes KEY=VALUE; received {pair!r}")
        if key in options:
            raise ValueError(f"--option {key} was given twice")
        options[key], _ = parse(text, f"--option {key}")
    return options


def _like(decoder: str, name: str, value: Any, default: Any) -> Any:
    kinds = {bool: "true or false", int: "a whole number", float: "a finite number", str: "a text"}
    kind = type(default)
    if kind not in kinds:
        return value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {
        bool: isinstance(value, bool),
        int: number and float(value).is_integer(),
        float: number and math.isfinite(value),
        str: isinstance(value, str),
    }[kind]
    if not fits:
        raise ValueError(f"the option {name} of {decoder} is {kinds[kind]}; received {value!r}")
    return kind(value)

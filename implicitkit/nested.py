"""Mappings and lists inside each other, as YAML and JSON hold them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

MAX_NESTING = 64


def unshared(value: Any) -> Any:
    """A copy without shared parts: a YAML alias is the very object of its anchor, so that a change would change both.

    >>> part = {"blocks": 1}
    >>> copy = unshared([part, part])
    >>> copy[0]["blocks"] = 2
    >>> copy
    [{'blocks': 2}, {'blocks': 1}]
    """
    if isinstance(value, dict):
        return {key: unshared(inner) for key, inner in value.items()}
    return [unshared(inner) for inner in value] if isinstance(value, list) else value


def check_nesting(value: Any) -> None:
    """Raise :class:`ValueError` if mappings and lists are more than :data:`MAX_NESTING` deep, or hold themselves.

    >>> check_nesting({"model": {"encoder": {"hidden": [8, 8]}}})
    >>> check_nesting([[[[[]]]]] * 3)
    """
    level = [value] if isinstance(value, (Mapping, list, tuple)) else []
    for _ in range(MAX_NESTING + 1):
        if not level:
            return
        # each object once: what is shared, as by YAML's aliases, is not walked twice
        inner = [part for of in level for part in (of.values() if isinstance(of, Mapping) else of)]
        level = list({id(part): part for part in inner if isinstance(part, (Mapping, list, tuple))}.values())
    raise ValueError(f"it is nested more than {MAX_NESTING} deep")


def flattened(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings, by dotted path; a list is a leaf.

    >>> dict(flattened({"a": {"b": 1, "c": [2]}, "d": {}}))
    {'a.b': 1, 'a.c': [2], 'd': {}}
    """
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flattened(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def equal_and_different(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What several nested mappings have in common, and what they do not, by the dotted paths of their leaves.

    >>> equal_and_different({"a": {"lr": 1, "steps": 5}, "b": {"lr": 2, "steps": 5}})
    ({'steps': 5}, {'lr': {'a': 1, 'b': 2}})
    """
    leaves = {label: dict(flattened(value)) for label, value in values.items()}
    equal: dict[str, Any] = {}
    different: dict[str, dict[str, Any]] = {}
    for key in dict.fromkeys(key for of in leaves.values() for key in of):
        each = {label: of.get(key) for label, of in leaves.items()}
        first, *others = each.values()
        if all(other == first for other in others):
            equal[key] = first
        else:
            different[key] = each
    return equal, different


def texts_in(value: Any) -> Iterator[str]:
    """All texts among the values.

    >>> list(texts_in({"name": "noise", "sigma": [1, {"kind": "gaussian"}]}))
    ['noise', 'gaussian']
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, (Mapping, list)):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from texts_in(inner)


def fill_in(value: Any, names: Mapping[str, str]) -> Any:
    """``value`` with ``{name}`` replaced in all its texts.

    >>> fill_in({"data": ["{output}/train", 3]}, {"output": "runs"})
    {'data': ['runs/train', 3]}
    """
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace(f"{{{name}}}", text)
        return value
    if isinstance(value, Mapping):
        return {key: fill_in(inner, names) for key, inner in value.items()}
    return [fill_in(inner, names) for inner in value] if isinstance(value, list) else value


def finite(value: Any, digits: int | None = None) -> Any:
    """``value`` as JSON can hold it: infinity and ``nan`` become null. Numbers are rounded to ``digits``, if given.

    >>> finite({"a": [1.26, float("inf")]}, digits=1)
    {'a': [1.3, None]}
    """
    if isinstance(value, Mapping):
        return {key: finite(inner, digits) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner, digits) for inner in value]
    if isinstance(value, float):
        return None if not math.isfinite(value) else value if digits is None else round(value, digits)
    return value

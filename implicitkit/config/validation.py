"""Validate sections of a configuration; errors name the path, and the line if it comes from a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from implicitkit.config.documents import Document, place
from implicitkit.config.ranges import USUAL_RANGE, out_of_range, range_of
from implicitkit.config.sections import Strict
from implicitkit.errors import ConfigError, UserError, nearest

M = TypeVar("M", bound=BaseModel)


def validate(kind: type[M], value: Any, where: str) -> M:
    """``value`` as a ``kind``; numbers are in the ranges of :mod:`implicitkit.config.ranges`.

    Raises:
        ConfigError: it is not valid; the message has one clause per mistake.

    >>> from implicitkit.config import ModelSpec
    >>> validate(ModelSpec, {"encoder": {"name": "edsr", "blocks": 10**6}, "decoder": "liif"}, "model")
    Traceback (most recent call last):
    implicitkit.errors.ConfigError: model: encoder.blocks: should be a number from 0 to 512 (received 1000000)
    """
    if isinstance(value, Mapping):
        _refuse_full_stops(value)
    try:
        valid = kind.model_validate(value)
    except ValidationError as error:
        mistakes = [(detail["loc"], _explain(kind, detail)) for detail in error.errors()[:5]]
    else:
        dumped = valid.model_dump()
        wrong = list(out_of_range(dumped))[:5]
        mistakes = [
            (path, f"{'.'.join(path)}: should be {what} (received {_short(_at(dumped, path))})") for path, what in wrong
        ]
        if not mistakes:
            if isinstance(value, Document) and isinstance(valid, Strict):
                valid.places = value.places
            return valid
    at = place(value, mistakes[0][0])
    raise ConfigError(f"{where}{at and f', {at}'}: {'; '.join(text for _, text in mistakes)}") from None


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Begin the messages of errors in this context with the path in the configuration."""
    try:
        yield
    except (UserError, TypeError, ValueError, LookupError) as error:
        named = ConfigError(f"{path}: {error}")
        named.path = path
        raise named from error


def _at(value: Any, path: Sequence[str]) -> Any:
    for part in path:
        value = value[int(part)] if isinstance(value, (list, tuple)) else value[part]
    return value


def _refuse_full_stops(value: Any, path: str = "") -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ConfigError(f"{path or 'the top level'}: a key must be text; received {key!r}")
            if "." in key and path.split(".")[-3:] != ["optimiser", "parts", ""] and path != "methods.":
                head, _, tail = key.partition(".")
                raise ConfigError(
                    f"{path + key!r}: a key cannot hold a full stop; write {tail!r} as an entry inside "
                    f"{head!r} (only --set takes dotted paths)"
                )
            _refuse_full_stops(inner, f"{path}{key}.")
    elif isinstance(value, list):
        for k, inner in enumerate(value):
            _refuse_full_stops(inner, f"{path}{k}.")


def _explain(kind: type[BaseModel], detail: Any) -> str:
    location = [str(part) for part in detail["loc"]]
    path = ".".join(location) or "the top level"
    if detail["type"] == "extra_forbidden":
        valid = _keys_at(kind, detail["loc"][:-1])
        near = nearest(location[-1], valid)
        hint = f"did you mean {near[0]!r}?" if near else f"valid keys: {', '.join(valid)}"
        return f"{path}: unknown key (received {_short(detail['input'])}); {hint}"
    if detail["type"] == "missing":
        return f"{path}: required, but not given"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] in ("greater_than", "greater_than_equal") and range_of(location) != USUAL_RANGE:
        message += f" and at most {range_of(location)[1]:,}"
    return f"{path}: {message[0].lower() + message[1:]} (received {_short(detail['input'])})"


def _keys_at(kind: type[BaseModel], location: Sequence[Any]) -> list[str]:
    """The valid keys of the section at ``location``."""
    at: Any = kind
    for part in location:
        field = getattr(at, "model_fields", {}).get(part)
        if field is None:
            continue  # an index, or the key of a mapping of models
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        at = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), at)
    return list(getattr(at, "model_fields", {}))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

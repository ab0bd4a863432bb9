"""The arguments of a registered factory: checked against its signature, converted to its annotations."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_type_hints

from implicitkit.errors import ArgumentError, nearest


def check_arguments(
    what: str, factory: Callable[..., Any], positional: tuple[Any, ...], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments converted to ``factory``'s annotations (``"1e-3"`` becomes a number).

    Raises:
        ArgumentError: one is unknown, or has another type; the message names the nearest valid name.
    """
    takes = parameter_names(factory, len(positional))
    if takes is None:
        return dict(arguments)
    for key in arguments:
        if key not in takes:
            near = nearest(key, takes)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ArgumentError(f"{what} takes no {key!r}{hint} (it takes: {', '.join(takes) or 'nothing'})")
    hints = _type_hints(factory)
    return {
        key: _as_annotated(what, key, value, hints[key]) if key in hints else value for key, value in arguments.items()
    }


def parameter_names(factory: Callable[..., Any], positional: int = 0) -> list[str] | None:
    """The names that ``factory`` takes behind ``positional`` arguments; None if it takes any."""
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # a builtin without a signature: the call will raise
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return None
    return [n for n, p in list(parameters.items())[positional:] if p.kind is not p.POSITIONAL_ONLY]


def _type_hints(factory: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(factory.__init__ if inspect.isclass(factory) else factory)
    except Exception:  # an annotation that cannot be evaluated checks nothing
        return {}


def _as_annotated(what: str, key: str, value: Any, hint: Any) -> Any:
    from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError

    numbers, truths = (any(kind in (hint, *get_args(hint)) for kind in kinds) for kinds in ((int, float), (bool, Any)))
    if isinstance(value, bool) and numbers and not truths:  # YAML reads yes and on as true, which Python counts as 1
        raise ArgumentError(f"{what}, {key}: should be a number (received {value!r})")
    try:
        return TypeAdapter(hint).validate_python(value)
    except PydanticSchemaGenerationError:  # pydantic does not know the type
        return value
    except ValidationError as error:
        first = error.errors()[0]["msg"]
        raise ArgumentError(f"{what}, {key}: {first[0].lower() + first[1:]} (received {value!r})") from None

"""Older files in today's words: a part whose arguments have changed their meaning says what its old ones are now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from implicitkit.errors import UserError
from implicitkit.registry.kinds import decoders, encoders, necks
from implicitkit.registry.registry import Registry


def migrated(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A model's spec, as a file holds it, for today's parts: each goes through the ``migrate`` of its class.

    >>> spec = {"encoder": "edsr", "decoder": {"name": "liif", "hidden": [64]}}
    >>> migrated(spec) == spec
    True
    """
    result = dict(spec)
    for key, registry in (("encoder", encoders), ("decoder", decoders)):
        if key in result:
            result[key] = _part(registry, result[key])
    if isinstance(result.get("neck"), list):
        result["neck"] = [_part(necks, neck) for neck in result["neck"]]
    elif "neck" in result:
        result["neck"] = _part(necks, result["neck"])
    if isinstance(result.get("conditions"), Mapping):
        result["conditions"] = {
            name: migrated(inner) if isinstance(inner, Mapping) else inner
            for name, inner in result["conditions"].items()
        }
    return result


def _part(registry: Registry[Any], part: Any) -> Any:
    """One part's spec; what cannot be found, or is no spec, is left to who builds it."""
    spec = {"name": part} if isinstance(part, str) else part
    if not isinstance(spec, Mapping) or not isinstance(spec.get("name"), str):
        return part
    try:
        entry, _ = registry.find(spec["name"])
        migrate = getattr(registry.resolve(entry), "migrate", None)
    except (UserError, ImportError):
        return part
    changed = dict(spec) if migrate is None else migrate(dict(spec))
    return part if changed == spec else changed

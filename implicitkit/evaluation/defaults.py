"""The protocol that tests what a degradation does, where a configuration names none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

LEVELS = {"mild": 1 / 3, "middling": 2 / 3, "strong": 1.0}
"""How far along each range of a degradation its levels lie."""
Spec = str | Mapping[str, Any]


def default_protocol(degradation: Spec | Sequence[Spec]) -> dict[str, Any]:
    """The spec of the protocol for a degradation, or for several that are applied in order.

    Holes alone are scored by ``inpainting``, by bins of hole ratios. Anything else is scored by ``restoration`` at
    three levels: a third, two thirds and the whole way along every range ``[low, high]`` among its settings; as it is,
    where it has none.

    Example:
        >>> default_protocol({"name": "super_resolution", "scale": [1, 4]})["settings"].keys()
        dict_keys(['scale 2', 'scale 3', 'scale 4'])
    """
    listed = [degradation] if isinstance(degradation, (str, Mapping)) else degradation
    steps = [{"name": step} if isinstance(step, str) else dict(step) for step in listed]
    if len(steps) == 1 and steps[0]["name"] == "inpainting":
        return _inpainting(steps[0])
    ranges = list(_ranges(steps))
    if not ranges:
        return {"name": "restoration", "settings": {" and ".join(step["name"] for step in steps): _one(steps)}}
    settings = {}
    for level, share in LEVELS.items():
        fixed = [dict(step) for step in steps]
        for step, key in ranges:
            low, high = (float(end) for end in steps[step][key])
            fixed[step][key] = round(low + share * (high - low), 6)
        if len(ranges) == 1:
            level = f"{key} {fixed[step][key]:.4g}"
        settings[level] = _one(fixed)
    return {"name": "restoration", "settings": settings}


def _inpainting(step: Mapping[str, Any]) -> dict[str, Any]:
    spec = {"name": "inpainting", "size": None, **{key: step[key] for key in ("fill", "kind") if key in step}}
    if "folder" in step:
        spec.pop("kind", None)
        spec["masks"] = step["folder"]
    return spec


def _ranges(steps: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, str]]:
    """The index of a step and the key of a setting that is ``[low, high]``."""
    for index, step in enumerate(steps):
        for key, value in step.items():
            is_pair = isinstance(value, (list, tuple)) and len(value) == 2
            if is_pair and all(type(end) in (int, float) for end in value) and value[0] < value[1]:
                yield index, key


def _one(steps: list[dict[str, Any]]) -> Any:
    return steps if len(steps) > 1 else steps[0]

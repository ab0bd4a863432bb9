"""The evaluation that a training degradation asks for, so that one line of a configuration swaps both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

SHARES = (1 / 3, 2 / 3, 1.0)
"""How far along each range the levels lie."""
LEVELS = ("mild", "middling", "strong")


def as_trained(degradation: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]) -> dict[str, Any]:
    """The spec of a protocol for what ``degradation`` does.

    Holes alone are scored by ``inpainting``, by bins of hole ratios. Anything else is scored by ``restoration`` at
    three levels: a third, two thirds and the whole way along every range ``[low, high]`` among its settings; as it is,
    where it has none.

    >>> as_trained({"name": "super_resolution", "scale": [1, 4]})["settings"].keys()
    dict_keys(['scale 2', 'scale 3', 'scale 4'])
    """
    listed = [degradation] if isinstance(degradation, (str, Mapping)) else list(degradation)
    steps: list[dict[str, Any]] = [{"name": step} if isinstance(step, str) else dict(step) for step in listed]
    if len(steps) == 1 and steps[0]["name"] == "inpainting":
        return _inpainting(steps[0])
    ranges = [(k, key) for k, step in enumerate(steps) for key in _ranges(step)]
    if not ranges:
        return {"name": "restoration", "settings": {" and ".join(step["name"] for step in steps): _one(steps)}}
    settings = {}
    for level, share in zip(LEVELS, SHARES, strict=True):
        fixed = [dict(step) for step in steps]
        for k, key in ranges:
            low, high = (float(end) for end in steps[k][key])
            fixed[k][key] = round(low + share * (high - low), 6)
        label = f"{ranges[0][1]} {fixed[ranges[0][0]][ranges[0][1]]:.4g}" if len(ranges) == 1 else level
        settings[label] = _one(fixed)
    return {"name": "restoration", "settings": settings}


def _inpainting(step: Mapping[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = {"name": "inpainting", "size": None}
    if "fill" in step:
        spec["fill"] = step["fill"]
    if "folder" in step:
        return {**spec, "masks": step["folder"]}
    return {**spec, **({"kind": step["kind"]} if "kind" in step else {})}


def _ranges(step: Mapping[str, Any]) -> Iterator[str]:
    for key, value in step.items():
        pair = isinstance(value, (list, tuple)) and len(value) == 2 and all(_is_number(v) for v in value)
        if pair and value[0] < value[1]:
            yield key


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _one(steps: list[dict[str, Any]]) -> Any:
    return steps if len(steps) > 1 else steps[0]

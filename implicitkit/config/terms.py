"""Whether methods are compared on equal terms: what differs between them beyond what is compared.

Every model's spec is filled up with the defaults of its parts first: two decoders that are named and nothing else may
still differ in what they add to the picture.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from implicitkit.config.training import ModelSpec
from implicitkit.nested import equal_and_different, flattened
from implicitkit.registry.kinds import decoders, encoders

DEPENDENT_OPTIONS = ("in_channels", "ndim", "mask_channels")  # options that other parts decide
FIRST_OPTIONS = ("skip", "fill", "inputs", "passes", "scales", "conditions")  # what moves a score most
MAX_SHOWN = 5


@dataclass(frozen=True)
class Terms:
    """What differs between methods.

    Attributes:
        compared: the part that is compared, such as ``decoder``; nothing where that is not one part.
        unequal: path -> ``values`` (method -> value) and ``by_default`` (the methods that do not give it themselves).
        advice: the entry of the configuration that would make a difference by default equal, if there is one.
    """

    compared: str
    unequal: dict[str, dict[str, Any]]
    advice: str

    def line(self) -> str:
        """The differences in one line; nothing if there are none."""
        if not self.unequal:
            return ""
        texts = []
        for path, of in list(self.unequal.items())[:MAX_SHOWN]:
            values = (
                f"{_text(v)} for {k}{' (default)' if k in of['by_default'] else ''}" for k, v in of["values"].items()
            )
            texts.append(f"{path}: {', '.join(values)}")
        more = [f"{len(self.unequal) - MAX_SHOWN} more, see the report"] if len(self.unequal) > MAX_SHOWN else []
        beyond = f" beyond the {self.compared}" if self.compared else ""
        hint = [f"to make it equal: {self.advice}"] if self.advice else []
        return f"not on equal terms{beyond}: " + "; ".join(texts + more + hint)


def compare_specs(specs: Mapping[str, ModelSpec], budgets: Mapping[str, Mapping[str, Any]]) -> Terms:
    """What differs between methods: label -> the model's spec, and label -> what it was trained with."""
    shared = set.intersection(*(set(spec.conditions) for spec in specs.values())) if specs else set()
    given: dict[str, set[str]] = {}
    flat: dict[str, dict[str, Any]] = {}
    for label, spec in specs.items():
        values, given[label] = _resolved(spec, shared)
        flat[label] = dict(flattened(json.loads(json.dumps(values, default=str))))
    model = dict(_differences(flat))
    named = [path for path in model if path.endswith(".name")]
    compared = named[0] if len(named) == 1 else next(iter(model)) if len(model) == 1 else ""
    model.pop(compared, None)
    unequal = {
        path: {"values": values, "by_default": [k for k in values if path.rpartition(".")[0] and path not in given[k]]}
        for path, values in sorted(model.items(), key=lambda item: item[0].rpartition(".")[2] not in FIRST_OPTIONS)
    }
    _, budget = equal_and_different(budgets)
    unequal |= {path: {"values": values, "by_default": []} for path, values in budget.items()}
    return Terms(compared.removesuffix(".name"), unequal, _advice(unequal, len(specs)))


def _resolved(spec: ModelSpec, shared: Iterable[str]) -> tuple[dict[str, Any], set[str]]:
    """The spec with its parts' defaults, and the paths that it gives itself; of its conditions, those that are
    ``shared`` in full and the others by name.
    """
    values = spec.model_dump(mode="json", exclude={"encoder", "decoder", "conditions"})
    values["conditions"] = sorted(spec.conditions.keys() - set(shared))
    given: set[str] = set()
    for part, registry in (("encoder", encoders), ("decoder", decoders)):
        own = getattr(spec, part).as_dict()
        full = {**registry.defaults(own["name"]), **own, "name": registry.canonical(own["name"])}
        values[part] = {key: value for key, value in full.items() if key not in DEPENDENT_OPTIONS}
        given |= {path for path, _ in flattened(own, part)}
    for name in shared:
        values[name], own_paths = _resolved(spec.conditions[name], spec.conditions[name].conditions)
        given |= {f"{name}.{path}" for path in own_paths}
    return values, given


def _differences(flat: Mapping[str, Mapping[str, Any]]) -> Iterable[tuple[str, dict[str, Any]]]:
    """The paths that two methods or more have with different values."""
    for path in dict.fromkeys(path for values in flat.values() for path in values):
        having = {label: values[path] for label, values in flat.items() if path in values}
        if len(having) > 1 and any(value != next(iter(having.values())) for value in having.values()):
            yield path, having


def _advice(unequal: Mapping[str, Mapping[str, Any]], methods: int) -> str:
    """What to share: of the first difference that no one wrote."""
    for path, of in unequal.items():
        part, _, option = path.partition(".")
        if (
            part in ("encoder", "decoder")
            and option in FIRST_OPTIONS
            and of["by_default"]
            and len(of["values"]) == methods
        ):
            chosen = [value for value in of["values"].values() if value not in (None, "none")]
            return f"shared: {{{part}: {{{option}: {_text(chosen[-1] if chosen else None)}}}}}"
    return ""


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."

"""Settings of degradations: a number or a range of numbers, one kind or several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from implicitkit.degradations.base import uniform

Number = float | Sequence[float]
"""One number, or a range ``[low, high]`` to draw from uniformly."""

KindChoice = str | Sequence[str] | Mapping[str, float]
"""One kind, several that are equally likely, or ``{kind: weight}``."""


class Range:
    """A setting that is fixed, or drawn uniformly from ``[low, high]``.

    Args:
        what: the setting's name, for errors.
        value: a number or ``[low, high]``.
        least: the smallest value allowed.
        most: the largest value allowed.
    """

    def __init__(self, what: str, value: Number, least: float = 0.0, most: float = math.inf) -> None:
        ends = [float(v) for v in value] if isinstance(value, Sequence) else [float(value)]
        if len(ends) not in (1, 2) or not least <= ends[0] <= ends[-1] <= most or not math.isfinite(ends[-1]):
            limits = f"of at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
            raise ValueError(f"{what} is a number {limits}, or a range [low, high] of such; received {value!r}")
        self.low, self.high = ends[0], ends[-1]

    def draw(self, generator: torch.Generator) -> float:
        """A value; always uses one random number."""
        return uniform(self.low, self.high, generator)


class Kinds:
    """Kinds of a degradation, drawn by weight.

    Args:
        what: the degradation's name, for errors.
        kind: see :data:`KindChoice`.
        known: all kinds.
    """

    def __init__(self, what: str, kind: KindChoice, known: Sequence[str]) -> None:
        if isinstance(kind, Mapping):
            weights = {name: float(weight) for name, weight in kind.items()}
        else:
            weights = dict.fromkeys([kind] if isinstance(kind, str) else kind, 1.0)
        if not weights or any(name not in known for name in weights):
            raise ValueError(f"the kinds of {what} are {', '.join(known)}; received {kind!r}")
        if any(not math.isfinite(w) or w < 0 for w in weights.values()) or not sum(weights.values()):
            raise ValueError(f"weights of kinds are 0 or more, one of them positive; received {kind!r}")
        self.weights = {name: weight for name, weight in weights.items() if weight}

    def __contains__(self, kind: str) -> bool:
        return kind in self.weights

    def draw(self, generator: torch.Generator) -> str:
        """A kind; always uses one random number."""
        number = uniform(0, sum(self.weights.values()), generator)
        for kind, weight in self.weights.items():
            number -= weight
            if number < 0:
                return kind
        return kind  # the sum of the weights was rounded up


def draw_seed(generator: torch.Generator) -> int:
    """An int64 seed, which a record holds instead of a large random tensor."""
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))

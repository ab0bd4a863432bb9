"""A weighted sum of losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from implicitkit.losses.base import Batch, Loss
from implicitkit.registry.kinds import create_part, losses

if TYPE_CHECKING:
    from implicitkit.field.field import Prediction
    from implicitkit.model import ImplicitModel


class Total:
    """A weighted sum of losses, as a training configuration lists them; each term can be looked at alone.

    Args:
        terms: specs, each with a ``weight`` (1 if left out).
    """

    def __init__(self, terms: Sequence[Mapping[str, Any]]) -> None:
        self.terms: dict[str, tuple[float, Any]] = {}
        for term in terms:
            arguments = dict(term)
            weight = float(arguments.pop("weight", 1.0))
            name = arguments["name"]
            label = name if name not in self.terms else f"{name}_{len(self.terms) + 1}"
            self.terms[label] = (weight, create_part(losses, arguments))

    @property
    def wants_reference(self) -> bool:
        """Whether any term needs the clean pictures."""
        return any(getattr(loss, "wants_reference", False) for _, loss in self.terms.values())

    @property
    def wants_window(self) -> list[str]:
        """The terms that compare pictures, so that points must be those of a window."""
        return [label for label, (_, loss) in self.terms.items() if getattr(loss, "wants_window", False)]

    @property
    def learning(self) -> dict[str, Loss]:
        """The terms that own parameters."""
        return {label: loss for label, (_, loss) in self.terms.items() if getattr(loss, "learns", False)}

    @property
    def reads(self) -> tuple[str, ...] | None:
        """The model's conditions whose values some term compares; None if one does not say, so that all are wanted."""
        found: list[str] = []
        for _, loss in self.terms.values():
            names = getattr(loss, "reads", None)
            if names is None:
                return None
            found += names
        return tuple(dict.fromkeys(found))

    def attach(self, model: ImplicitModel) -> None:
        """Show the model to every term that wants to see it."""
        for _, loss in self.terms.values():
            if hasattr(loss, "attach"):
                loss.attach(model)

    def begin(self, step: int) -> None:
        """Tell every term which step comes next."""
        for _, loss in self.terms.values():
            if hasattr(loss, "begin"):
                loss.begin(step)

    def learn(self, mean: Callable[[Tensor], Tensor]) -> None:
        """Let the terms that learn take a step of their own."""
        for loss in self.learning.values():
            loss.learn(mean)

    def notes(self) -> dict[str, float]:
        """What the terms that learn have to say for the log."""
        return {f"{label}_{key}": value for label, loss in self.learning.items() for key, value in loss.notes().items()}

    def each(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Every term, unweighted."""
        return {label: loss(prediction, batch) for label, (_, loss) in self.terms.items()}

    def sum(self, each: Mapping[str, Tensor]) -> Tensor:
        """What is minimised, from what :meth:`each` returned."""
        total: Tensor | None = None
        for label, value in each.items():
            weighted = value * self.terms[label][0]
            total = weighted if total is None else total + weighted
        assert total is not None
        return total

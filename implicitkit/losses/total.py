"""A weighted sum of losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from implicitkit.errors import ConfigError
from implicitkit.losses.base import Batch, Loss
from implicitkit.registry.kinds import create_part, losses

if TYPE_CHECKING:
    from implicitkit.field.field import Prediction
    from implicitkit.model import ImplicitModel


class WeightedLoss:
    """The weighted sum of the losses of a training configuration.

    Args:
        terms: specs, each with a ``weight`` (default: 1).

    >>> losses = WeightedLoss([{"name": "l1"}, {"name": "l2", "weight": 0.25}])
    >>> losses.sum({"l1": Tensor([1.0]), "l2": Tensor([4.0])})
    tensor([2.])
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
        """The terms that need the points of a window."""
        return [label for label, (_, loss) in self.terms.items() if getattr(loss, "wants_window", False)]

    @property
    def learning(self) -> dict[str, Loss]:
        """The terms that own parameters."""
        return {label: loss for label, (_, loss) in self.terms.items() if getattr(loss, "learns", False)}

    @property
    def reads(self) -> tuple[str, ...] | None:
        """The model's conditions whose values the terms compare; None: all."""
        names: list[str] = []
        for _, loss in self.terms.values():
            if getattr(loss, "reads", None) is None:
                return None
            names += loss.reads
        return tuple(dict.fromkeys(names))

    def attach(self, model: ImplicitModel) -> None:
        """Attach every term to the model."""
        for _, loss in self.terms.values():
            if hasattr(loss, "attach"):
                loss.attach(model)

    def begin(self, step: int) -> None:
        """Begin a step in every term."""
        for _, loss in self.terms.values():
            if hasattr(loss, "begin"):
                loss.begin(step)

    def learn(self, mean: Callable[[Tensor], Tensor]) -> None:
        """Let the terms that learn take a step."""
        for loss in self.learning.values():
            loss.learn(mean)

    def notes(self) -> dict[str, float]:
        """The numbers of the terms that learn, for the log."""
        return {f"{label}_{key}": value for label, loss in self.learning.items() for key, value in loss.notes().items()}

    def each(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Every term, unweighted.

        Raises:
            ConfigError: a term is not a scalar tensor.
        """
        values = {label: loss(prediction, batch) for label, (_, loss) in self.terms.items()}
        for label, value in values.items():
            if not isinstance(value, Tensor):
                raise ConfigError(f"{label} returned {type(value).__name__}; a loss returns a tensor, a scalar")
            if value.ndim or value.is_complex():
                raise ConfigError(
                    f"{label} returned a tensor of shape {list(value.shape)}, {value.dtype}; a loss is a real scalar, "
                    "such as values.mean()"
                )
        return values

    def sum(self, each: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum of what :meth:`each` returned."""
        total: Tensor | None = None
        for label, value in each.items():
            weighted = value * self.terms[label][0]
            total = weighted if total is None else total + weighted
        assert total is not None
        return total


Total = WeightedLoss  # its former name

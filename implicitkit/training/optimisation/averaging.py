"""An exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Average:
    """The moving average of trainable weights: ``average = d * average + (1 - d) * weights`` after each step.

    Averaged weights usually score better than those of the last step (Polyak and Juditsky, 1992). ``d`` is
    ``min(decay, (1 + t) / (10 + t))`` at update ``t`` from 0, so that a short run soon forgets its first weights.
    Frozen weights and buffers are not averaged.

    Args:
        model: the model; its weights that require a gradient now are averaged.
        decay: in (0, 1), or None for no average: :meth:`shown` then changes nothing.

    >>> layer = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.zeros_(layer.weight)
    >>> average = Average(layer, decay=0.999)
    >>> _ = nn.init.ones_(layer.weight)
    >>> average.update()  # d is 0.1
    >>> with average.shown():
    ...     round(layer.weight.item(), 3)
    0.9
    >>> layer.weight.item()
    1.0
    """

    def __init__(self, model: nn.Module, decay: float | None) -> None:
        if decay is not None and not 0 < decay < 1:
            raise ValueError(f"the decay of an average is between 0 and 1, such as 0.999; received {decay}")
        self.decay, self.updates = decay, 0
        trainable: dict[str, Tensor] = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._weights = {} if decay is None else trainable
        self._average = {name: p.detach().clone() for name, p in self._weights.items()}

    def update(self) -> None:
        """Average in the current weights; call it once after each optimiser step."""
        self.move(1 - self.next_decay())

    @torch.no_grad()
    def move(self, share: float | Tensor) -> None:
        """Move the average by ``share``, a number or a tensor ``()``, of the way to the current weights."""
        for name, weight in self._weights.items():
            self._average[name].lerp_(weight, share)

    def next_decay(self) -> float:
        """``d`` of the next update, which is counted; 0 without an average."""
        if self.decay is None:
            return 0.0
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        return decay

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Swap the average into the model, to validate or save it; its weights return bit for bit."""
        trained = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._fill(self._average)
        try:
            yield
        finally:
            self._fill(trained)

    def state_dict(self) -> dict[str, Any]:
        """The average and the number of updates, for a checkpoint."""
        return {"updates": self.updates, "average": self._average}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises:
            ValueError: it is the average of another model.
        """
        stored = state["average"]
        if {name: value.shape for name, value in stored.items()} != {n: v.shape for n, v in self._average.items()}:
            raise ValueError("the stored average is of another model")
        for name, value in self._average.items():
            value.copy_(stored[name])
        self.updates = int(state["updates"])

    @torch.no_grad()
    def _fill(self, values: Mapping[str, Tensor]) -> None:
        for name, weight in self._weights.items():
            weight.copy_(values[name])

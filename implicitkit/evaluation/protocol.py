"""The protocol contract: models and a test set in, scores beside a trivial method out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from implicitkit.errors import UserError
from implicitkit.evaluation.scores import Metrics, Scores
from implicitkit.model import ImplicitModel

Progress = Callable[[int, str], Any]
"""Called with the number of steps done and a note on the one at hand."""


class Protocol:
    """How models are scored on a test set: what they are shown, what is measured, and beside which trivial method.

    A subclass writes :meth:`count` and :meth:`evaluate`. The arguments of its constructor are its options: they come
    from a spec (``{"name": "inpainting", "size": 128}``), so they are what JSON can hold, and are checked against
    their annotations. Whatever is drawn at random depends on the options and a picture's place in the test set alone,
    so that every model, today and later, is asked the same.

    Attributes:
        trivial: what the first row of every table is called: a method that needs no training.
        spec: what it was built from, if it was built by name.
    """

    trivial: ClassVar[str]
    spec: Any = None

    def count(self, data: Path) -> int:
        """How many steps :meth:`evaluate` reports to ``progress``, however many models there are.

        Raises:
            DataError: ``data`` is not a test set for this protocol.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement count()")

    def evaluate(
        self,
        models: Mapping[str, ImplicitModel],
        data: Path,
        *,
        metrics: Metrics | None = None,
        encode: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Scores:
        """Score every model, and the trivial method, on the test set.

        Args:
            models: name -> model; each is checked (:meth:`admit`) before anything is computed.
            data: the folder of the test set.
            metrics: what to measure (default: what the protocol usually reports).
            encode: passed on to :meth:`ImplicitModel.encode`: ``tile``, ``precision``.
            progress: see :data:`Progress`.

        Returns:
            Scores whose first method is :attr:`trivial`, followed by the models in the order given.

        Raises:
            DataError: ``data`` is not a test set for this protocol.
            UserError: a model cannot be scored by it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement evaluate()")

    def tables(self, scores: Scores) -> dict[str, list[str]]:
        """How ``scores`` are laid out: title -> names of metrics; one table without a title unless overridden."""
        return {"": list(scores.units)}

    def settings(self) -> dict[str, Any]:
        """What a JSON report records of the options, defaults included."""
        return {} if self.spec is None else {key: value for key, value in self.spec.items() if key != "name"}

    def check(self, model: ImplicitModel, name: str = "the model") -> None:
        """Raise :class:`UserError`, calling it ``name``, if ``model`` cannot be scored by this protocol; unless
        overridden, if it does not map RGB pictures to RGB pictures.
        """
        if model.encoder.in_channels != 3 or model.decoder.out_channels != 3 or model.decoder.output != "picture":
            raise UserError(f"{name} does not map RGB pictures to RGB pictures, so it cannot be scored")

    def admit(self, models: Mapping[str, ImplicitModel]) -> None:
        """Check all models, and that none takes the trivial method's name and with it its row.

        Raises:
            UserError: one does, or cannot be scored.
        """
        for name, model in models.items():
            if name == self.trivial:
                raise UserError(f"{name!r} is what the first row is called, the trivial method's; rename the model")
            self.check(model, name)


@dataclass(frozen=True)
class Answer:
    """A model as a method: picture in, picture out."""

    model: ImplicitModel
    encode: Mapping[str, Any]
    """See :meth:`Protocol.evaluate`."""

    def __call__(self, picture: Tensor, size: Sequence[int], mask: Tensor | None = None) -> Tensor:
        """``picture`` ``(3, h, w)`` at ``size``; ``mask`` goes to a model that takes one."""
        seen = mask if self.model.takes_mask else None
        return self.model.encode(picture, seen, **self.encode).render(size)

    def in_place(self, picture: Tensor, mask: Tensor) -> Tensor:
        """``picture`` at its own size."""
        return self(picture, picture.shape[1:], mask)

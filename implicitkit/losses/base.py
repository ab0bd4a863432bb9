"""The loss contract: a prediction and its batch -> a scalar; ``prediction.values`` and ``batch["target"]`` are
``(B, N, out)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from implicitkit.losses.windows import as_pictures
from implicitkit.printing import with_settings

if TYPE_CHECKING:
    from implicitkit.field.field import Prediction
    from implicitkit.model import ImplicitModel

Batch = Mapping[str, Any]
"""``image``, ``mask``, ``coords``, ``cell``, ``target``; for the points of a window, ``window``, its ``(h, w)``; for
losses that want it, ``reference``: the clean pictures ``(B, 3, H, W)``, or a list of them if their sizes differ."""


class Loss:
    """A loss; a subclass writes :meth:`__call__`.

    Attributes:
        wants_reference: whether the batch must hold the clean pictures.
        wants_window: whether the points must be those of a window (``data.points: window``).
        learns: whether it owns parameters: :meth:`learn` is called after each step, and checkpoints hold its state.
        reads: names of the model's conditions whose values it compares, set when attached; the prediction holds no
            others. None: all.

    >>> from implicitkit import Prediction
    >>> class Largest(Loss):
    ...     def __call__(self, prediction, batch):
    ...         return (prediction.values - batch["target"]).abs().max()
    >>> Largest()(Prediction(Tensor([[[0.5]]]), {}), {"target": Tensor([[[0.25]]])})
    tensor(0.2500)
    """

    wants_reference: ClassVar[bool] = False
    wants_window: ClassVar[bool] = False
    learns: ClassVar[bool] = False
    reads: tuple[str, ...] | None = None
    spec: Any = None

    def __repr__(self) -> str:
        return with_settings(self)

    def attach(self, model: ImplicitModel) -> None:
        """Called once, before training, for losses that need more of the model than its prediction."""

    def begin(self, step: int) -> None:
        """Called before each step with its number, from 0, for losses that change during training."""

    def learn(self, mean: Callable[[Tensor], Tensor]) -> None:
        """Called after each step of the model, for losses that learn: take one step.

        Args:
            mean: averages a tensor over all processes, which must end with the same parameters.
        """

    def notes(self) -> dict[str, float]:
        """Numbers of the last step for the log."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """The state for checkpoints: tensors and plain values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        """The loss of a model's prediction, a scalar with a gradient."""
        raise NotImplementedError(f"{type(self).__name__} does not implement __call__()")


class PictureLoss(Loss):
    """A loss of whole pictures; a subclass writes :meth:`of`. It needs ``data.points: window``.

    >>> import torch
    >>> class Blurred(PictureLoss):
    ...     def of(self, prediction, truth):
    ...         return (prediction - truth).mean((2, 3)).abs().mean()
    >>> from implicitkit import Prediction
    >>> target = torch.zeros(1, 6, 3)
    >>> Blurred()(Prediction(target + 0.5, {}), {"target": target, "window": (2, 3)})
    tensor(0.5000)
    """

    wants_window = True
    reads = ()

    def of(self, prediction: Tensor, truth: Tensor) -> Tensor:
        """The loss, a scalar, of pictures ``(B, 3, h, w)``, around [0, 1] and not clamped."""
        raise NotImplementedError(f"{type(self).__name__} does not implement of()")

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        return self.of(*pictures(prediction, batch, type(self).__name__))


def pictures(prediction: Prediction, batch: Batch, name: str = "the loss") -> tuple[Tensor, Tensor]:
    """Prediction and target as pictures ``(B, 3, h, w)`` in float32.

    Args:
        prediction: at all points of a window.
        batch: its batch; ``batch["window"]`` is ``(h, w)``.
        name: of the loss, for messages.

    Raises:
        ValueError: the points are random, or the values are not those of a picture.

    >>> from implicitkit import Prediction
    >>> values = Tensor(1, 6, 3)
    >>> pictures(Prediction(values, {}), {"target": values, "window": (2, 3)})[0].shape
    torch.Size([1, 3, 2, 3])
    """
    if prediction.values.shape[-1] != 3:
        raise ValueError(
            f"{name} compares RGB pictures; the model's decoder gives {prediction.values.shape[-1]} values per point"
        )
    return as_pictures(prediction.values.float(), batch), as_pictures(batch["target"].float(), batch)

"""What happens while a protocol scores a model: how long each picture takes, and the pictures themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from implicitkit.field.field import Field
from implicitkit.images.io import Pixels, to_pixels
from implicitkit.metrics import Metric
from implicitkit.model import ImplicitModel

KEPT = "_kept"
LIMIT = 128 << 20  # bytes of pictures that are kept per run


@dataclass
class Call:
    """One picture that the model was given: what it saw, what it was asked for, how long it took, and whether its
    answer has been shown.
    """

    image: Tensor
    mask: Tensor | None
    size: tuple[int, ...] | None = None
    seconds: float = 0.0
    shown: bool = False


@dataclass(frozen=True)
class Shown:
    """One picture, for people: 8 bits, ``(H, W, 3)``.

    Attributes:
        seen: what the model was given, at its own size.
        prediction: what it made of it, as the protocol scored it (shaved, where it shaves).
        truth: the clean picture, likewise.
        full: the size the model was asked for.
    """

    seen: Pixels
    prediction: Pixels
    truth: Pixels
    full: tuple[int, ...]


@dataclass
class Observer:
    """Watches one model.

    Attributes:
        model: the model.
        keep: whether to keep pictures.
        seconds: encoding and rendering, of each picture.
        first: the first picture, to count operations on.
        shown: what :class:`Kept` was given.
    """

    model: ImplicitModel
    keep: bool = False
    seconds: list[float] = field(default_factory=list)
    first: Call | None = None
    shown: list[Shown] = field(default_factory=list)
    _last: Call | None = None
    _bytes: int = 0

    @contextmanager
    def watching(self) -> Iterator[Observer]:
        """While this is open, ``model.encode`` and the field that it returns are timed."""
        self.model.encode = self._encode  # type: ignore[method-assign]
        try:
            yield self
        finally:
            del self.model.encode

    def _encode(self, image: Tensor, *arguments: Any, **options: Any) -> Field:
        start = self.now()
        field = ImplicitModel.encode(self.model, image, *arguments, **options)
        mask = arguments[0] if arguments else options.get("mask")
        call = self._last = Call(image, mask, seconds=self.now() - start)
        self.first = self.first or call
        field.__class__ = Timed  # a method of its own would be a cycle, and keep every field until it is collected
        vars(field).update(observer=self, call=call)
        return field

    def now(self) -> float:
        """A clock, once the device has done what it was asked."""
        device = next(self.model.parameters()).device
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    def see(self, prediction: Tensor, truth: Tensor) -> float:
        """Keep a picture; returns its place in :attr:`shown`, or ``nan`` where it is not the model's (the trivial
        method's comes before the model is asked) or there is no more room.
        """
        call = self._last
        if call is None or call.size is None or call.shown or not self.keep or self._bytes > LIMIT:
            return float("nan")
        call.shown = True
        seen, made, true = (to_pixels(p.float().cpu().clamp(0, 1)) for p in (call.image, prediction, truth))
        self.shown.append(Shown(seen, made, true, call.size))
        self._bytes += seen.nbytes + made.nbytes + true.nbytes
        return float(len(self.shown) - 1)


class Timed(Field):
    """A field that tells its observer how long it takes to render; rendered again, it counts once."""

    observer: Observer
    call: Call

    def render(self, size: Sequence[int] | int, *arguments: Any, **options: Any) -> Tensor:
        start = self.observer.now()
        values = super().render(size, *arguments, **options)
        if self.call.size is None:
            self.call.size = tuple(values.shape[-2:])
            self.call.seconds += self.observer.now() - start
            self.observer.seconds.append(self.call.seconds)
        return values


class Kept(Metric):
    """No score: it keeps the pictures that it is given, and files each under its number."""

    name = KEPT
    takes_mask: ClassVar[bool] = False

    def __init__(self, observer: Observer) -> None:
        super().__init__()
        self.observer = observer

    def measure(self, prediction: Tensor, target: Tensor, mask: Tensor | None) -> float:
        return self.observer.see(prediction, target)

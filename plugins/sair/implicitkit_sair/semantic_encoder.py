"""What ``clip`` and ``mae_small`` share: a frozen network that is shown round the holes, at a size that it knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from implicitkit import Encoder, Features
from implicitkit_sair.filling import Fill, fill_holes


@dataclass(frozen=True)
class SemanticFeatures(Features):
    """Features, and the embedding of the whole picture for who asks: it costs another pass through the network."""

    whole: Callable[[], Tensor] | None = None

    @property
    def pooled(self) -> Tensor | None:
        """The whole picture's embedding ``(B, D)``, computed now; None if the encoder has none."""
        return self.whole() if self.whole is not None else None


class SemanticEncoder(Encoder):
    """An encoder whose mask says what to replace before the network sees the picture; a subclass writes :meth:`see`.

    A subclass sets, besides an encoder's own attributes:
        fill: what the network sees in a hole, see :func:`~implicitkit_sair.filling.fill_holes`.
        largest: pixels; a picture whose longer side has more is seen shrunk to that, and its features are stretched
            back.
    """

    trainable = False
    fill: Fill
    largest: int

    def see(self, x: Tensor) -> Tensor:
        """Normalised pictures without holes ``(B, 3, H, W)``, sizes multiples of the stride -> ``(B, out_channels,
        H/stride, W/stride)``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement see()")

    def extract(self, x: Tensor) -> Tensor:
        cells = [n // self.stride for n in x.shape[2:]]
        map = self.see(self._shrunk(self._without_holes(x)))
        return map if list(map.shape[2:]) == cells else F.interpolate(map, cells, mode="bilinear")

    def _without_holes(self, x: Tensor) -> Tensor:
        if not self.mask_channels:
            return x
        picture, mask = x[:, : self.in_channels], x[:, self.in_channels :]
        black = self.normalise(torch.zeros_like(x[:1, :, :1, :1]))[0, : self.in_channels]
        return fill_holes(picture, mask, self.fill, black)

    def _shrunk(self, x: Tensor) -> Tensor:
        longest = max(x.shape[2:])
        if longest <= self.largest:
            return x
        factor = self.largest / longest / self.stride
        size = [max(1, int(n * factor)) * self.stride for n in x.shape[2:]]
        return F.interpolate(x, size, mode="bilinear", antialias=True)

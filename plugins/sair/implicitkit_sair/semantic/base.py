"""What ``clip``, ``dense`` and ``mae_small`` share: a frozen network, shown round the holes, at a size it knows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from implicitkit import Encoder, Features
from implicitkit_sair.semantic.area import area_means
from implicitkit_sair.semantic.dropping import Kept
from implicitkit_sair.semantic.filling import Fill, fill_holes

_told: set[str] = set()  # classes of encoders whose random weights have been spoken of


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
        fill: what the network sees in a hole, see ``fill_holes``.
        largest: pixels; a picture whose longer side has more is seen shrunk to that.
        view: how many times larger the network sees a picture than it is. None shows it as it is, padded to whole
            patches; of a picture that had to be shrunk, the features are stretched back. With a number the features
            are the network's own grid, laid over the picture: 88 pixels seen 2.2 times larger are 14×14 patches of 14
            pixels. A cell is then no whole number of pixels, which ``stride`` rounds, and nothing is padded.
        patch: pixels of a cell in what the network sees (default: ``stride``).
        multiple: what the sides of what it sees are multiples of (default: ``patch``).
        drop_above: with ``fill: drop``, patches of which more than this share is missing are left out.
        learnt: whether it has been given weights. Frozen ones that are random mean nothing, of which a warning tells
            once.
    """

    trainable = False
    fill: Fill
    largest: int
    view: float | None = None
    drop_above: float = 0.5
    patch: int = 0
    multiple: int = 0
    learnt: bool = False

    def see(self, x: Tensor) -> Tensor:
        """Normalised pictures without holes ``(B, 3, H, W)``, sizes multiples of the patch -> ``(B, out_channels,
        H/patch, W/patch)``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement see()")

    def see_kept(self, x: Tensor, kept: Kept) -> Tensor:
        """The same of some patches, which see each other alone; the features of the others are zero."""
        raise NotImplementedError(f"{type(self).__name__} does not implement see_kept(), so it takes no fill: drop")

    def forward(self, x: Tensor) -> Features:
        if not self.learnt and not self.trainable:
            _tell(type(self).__name__)
        if self.view is None:
            return super().forward(x)
        channels = self.in_channels + self.mask_channels
        if x.ndim != 4 or x.shape[1] != channels:
            raise ValueError(f"{type(self).__name__} takes (B, {channels}, H, W); received shape {tuple(x.shape)}")
        return Features(self.extract(self.normalise(x)), extent=tuple(x.shape[2:]))

    def extract(self, x: Tensor) -> Tensor:
        known = self._sized(self._without_holes(x))
        kept = self.kept(x[:, self.in_channels :], known) if self.fill == "drop" and self.mask_channels else None
        map = self.see(known) if kept is None else self.see_kept(known, kept)
        cells = [n // self.stride for n in x.shape[2:]]
        if self.view is not None or list(map.shape[2:]) == cells:
            return map
        return F.interpolate(map, cells, mode="bilinear")

    def kept(self, mask: Tensor, seen: Tensor) -> Kept | None:
        """The patches of ``seen`` ``(B, 3, H, W)`` that are there, by the picture's mask ``(B, 1, h, w)``; None if all
        are.
        """
        cells = [n // (self.patch or self.stride) for n in seen.shape[2:]]
        return Kept.of(area_means(mask, cells)[:, 0] <= self.drop_above)

    def _load_from_state_dict(self, *arguments: Any) -> None:
        self.learnt = True
        super()._load_from_state_dict(*arguments)

    def set_view(self, patch: int, view: float | None, drop_above: float, multiple: int = 0) -> None:
        """Set ``patch`` and ``multiple``, and what depends on them: ``stride`` and ``size_multiple``.

        Raises:
            ValueError: ``view`` is not positive, or ``drop_above`` is no share.
        """
        if view is not None and not 0 < view < float("inf"):
            raise ValueError(f"view is a positive number, or null for the picture as it is; received {view}")
        if not 0 <= drop_above < 1:
            raise ValueError(f"drop_above is a share in [0, 1); received {drop_above}")
        self.patch, self.multiple, self.view, self.drop_above = patch, multiple or patch, view, drop_above
        self.stride = self.size_multiple = patch if view is None else max(1, round(patch / view))
        if view is None:
            self.size_multiple = self.multiple

    def _without_holes(self, x: Tensor) -> Tensor:
        if not self.mask_channels:
            return x
        picture, mask = x[:, : self.in_channels], x[:, self.in_channels :]
        black = self.normalise(torch.zeros_like(x[:1, :, :1, :1]))[0, : self.in_channels]
        return fill_holes(picture, mask, self.fill, black)

    def _sized(self, x: Tensor) -> Tensor:
        """The picture at the size that the network sees."""
        own = tuple(x.shape[2:])
        size = self.seen_size(own)
        if size == own:
            return x
        shrinks = any(side < n for side, n in zip(size, own, strict=True))
        return F.interpolate(x, size, mode="bilinear", antialias=shrinks)

    def seen_size(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """The size at which the network sees a picture of ``size`` (padded, without a view): whole patches."""
        unit, longest = self.multiple or self.size_multiple, max(size)
        if self.view is None or longest * self.view > self.largest:
            if self.view is None and longest <= self.largest:
                return size
            factor = self.largest / longest / unit
            return tuple(max(1, int(n * factor)) * unit for n in size)
        return tuple(max(1, round(n * self.view / unit)) * unit for n in size)


def _tell(encoder: str) -> None:
    """Say, once for each kind of encoder, that frozen random weights mean nothing."""
    if encoder not in _told:
        _told.add(encoder)
        warnings.warn(
            f"the semantic encoder {encoder} is frozen and its weights are random, so its features mean nothing; give "
            "it weights or pretrained, or load a model that has some",
            stacklevel=3,
        )

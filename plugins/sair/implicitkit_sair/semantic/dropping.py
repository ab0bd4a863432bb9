"""Which patches of a picture take part in attention, where those that are mostly missing do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Kept:
    """The patches that remain of each picture of a batch, in order, with places to spare where others keep more.

    Example:
        >>> import torch
        >>> kept = Kept.of(torch.tensor([[[True, False, True]], [[False, True, False]]]))
        >>> patches = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])[..., None]
        >>> kept.pick(patches)[0, :, 0], kept.real
        (tensor([1., 3.]), tensor([[ True,  True],
                [ True, False]]))
        >>> kept.spread(kept.pick(patches))[..., 0]
        tensor([[1., 0., 3.],
                [0., 5., 0.]])
    """

    total: int
    """All patches of a picture."""
    places: Tensor
    """``(B, K)`` int64: which patch each token is; K is the most that any picture keeps, and at least one."""
    real: Tensor | None
    """``(B, K)`` bool: whether a token is one; None if all are."""
    known: Tensor
    """``(B, K)`` bool: whether a token's feature is wanted: not that of the one patch of a picture that keeps none."""

    @classmethod
    def of(cls, keep: Tensor) -> Kept | None:
        """From ``(B, rows, columns)`` bool; None if every patch is kept."""
        keep = keep.flatten(1)
        counts = keep.sum(1)
        least, most = int(counts.min()), max(1, int(counts.max()))
        if least == keep.shape[1]:
            return None
        places = torch.argsort(keep.to(torch.uint8), dim=1, descending=True, stable=True)[:, :most]
        # a picture that keeps nothing keeps one, as attention over nothing is not a number
        order = torch.arange(most, device=keep.device)
        real = order < counts.clamp_min(1)[:, None]
        return cls(keep.shape[1], places, None if bool(real.all()) else real, order < counts[:, None])

    def pick(self, patches: Tensor) -> Tensor:
        """``(B, N, C)`` -> ``(B, K, C)``."""
        return patches.gather(1, self.places[..., None].expand(-1, -1, patches.shape[-1]))

    def spread(self, tokens: Tensor) -> Tensor:
        """``(B, K, C)`` -> ``(B, N, C)``, zero where no patch was kept."""
        tokens = tokens * self.known[..., None]
        all = tokens.new_zeros(len(tokens), self.total, tokens.shape[-1])
        return all.scatter(1, self.places[..., None].expand_as(tokens), tokens)

    def keys(self, prefix: int) -> Tensor | None:
        """The tokens that others may look at, ``prefix`` further ones before the patches: ``(B, 1, 1, prefix + K)``
        bool, as scaled_dot_product_attention takes it; None if all are.
        """
        if self.real is None:
            return None
        before = self.real.new_ones(len(self.real), prefix)
        return torch.cat([before, self.real], dim=1)[:, None, None]

    def apart(self, run: Callable[[Tensor, Kept], Tensor], prefix: int) -> Tensor:
        """The tokens ``(B, prefix + K, C)`` of pictures that are run together only with those that keep as many, so
        that no token is computed that is none: on a CPU twice as fast as a mask, and what needs no mask needs nothing
        of a network.

        Args:
            run: which pictures ``(b,)``, and what they keep -> their tokens ``(b, prefix + k, C)``.
            prefix: tokens before the patches.
        """
        counts = self.places.new_full((len(self.places),), self.places.shape[1])
        counts = counts if self.real is None else self.real.sum(1)
        all: Tensor | None = None
        for count in counts.unique().tolist():
            which = (counts == count).nonzero()[:, 0]
            tokens = run(which, Kept(self.total, self.places[which, :count], None, self.known[which, :count]))
            if all is None:
                all = tokens.new_zeros(len(counts), prefix + self.places.shape[1], tokens.shape[-1])
            all[which, : tokens.shape[1]] = tokens
        assert all is not None
        return all

"""What a semantic field says, as colours: its three main directions in the picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from implicitkit.field.field import Field

POINTS = 48  # a side, at which the directions are fitted
TAILS = (0.02, 0.98)  # of the values, which become black and white


def semantic_field(field: Field) -> Field | None:
    """The first field of embeddings that ``field`` reads, or what that one reads; None if there is none."""
    for read in field.conditions.values():
        if read.model.decoder.output == "embedding":
            return read
        if (below := semantic_field(read)) is not None:
            return below
    return None


@dataclass(frozen=True)
class Colours:
    """A map from embeddings ``(C,)`` to RGB: fitted once per picture, so that colours stay while one zooms.

    Attributes:
        mean: ``(C,)``.
        directions: ``(3, C)``, the principal components, the largest first.
        low: ``(3,)``, what becomes 0.
        high: ``(3,)``, what becomes 1.
    """

    mean: Tensor
    directions: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def fit(cls, semantic: Field) -> Colours:
        """From ``POINTS²`` points of the whole picture.

        >>> import implicitkit as ik
        >>> encoder = {"name": "edsr", "blocks": 1, "channels": 8}
        >>> model = ik.create_model({"encoder": encoder, "decoder": {"name": "bilinear", "project": False}})
        >>> field = model.encode(torch.rand(3, 16, 16))
        >>> Colours.fit(field)(field.render((4, 5))).shape
        torch.Size([3, 4, 5])
        """
        with torch.no_grad():
            values = semantic.render((POINTS, POINTS)).flatten(1).T.double().cpu()
            mean = values.mean(0)
            _, vectors = torch.linalg.eigh((values - mean).T @ (values - mean))
            directions = vectors.T.flip(0)[:3]
            sign = directions.gather(1, directions.abs().argmax(1, keepdim=True)).sign()
            directions = directions * sign  # else the decomposition's choice
            if len(directions) < 3:
                directions = directions[torch.arange(3) % len(directions)]
            low, high = (torch.quantile((values - mean) @ directions.T, tail, dim=0) for tail in TAILS)
        return cls(*(part.float() for part in (mean, directions, low, high)))

    def __call__(self, values: Tensor) -> Tensor:
        """``(C, H, W)`` as ``(3, H, W)`` in [0, 1]."""
        rows = values.float().cpu().flatten(1).T - self.mean
        span = (self.high - self.low).clamp_min(1e-12)
        colours = ((rows @ self.directions.T - self.low) / span).clamp(0, 1)
        return colours.T.reshape(3, *values.shape[1:])

"""The neck contract: from a feature map to a feature map with the same cells."""

from __future__ import annotations

from torch import Tensor

from implicitkit.encoders.part import Part


class Neck(Part):
    """Refines an encoder's map ``(B, in_channels, *cells)`` -> ``(B, out_channels, *cells)`` for the decoder.

    A subclass sets the attributes and writes ``forward``.

    Attributes:
        in_channels: features per cell that it takes.
        out_channels: features per cell that it gives.
        radius: how far, in cells, a feature can change another; None: everywhere, so that the picture cannot be
            encoded in tiles.
        size_multiple: tiles begin at multiples of so many cells, for windows; the neck pads for itself.
        ndim: dimensions of the map.

    >>> import torch
    >>> class Blur(Neck):
    ...     radius = 1
    ...     def __init__(self, in_channels=64):
    ...         super().__init__()
    ...         self.in_channels = self.out_channels = in_channels
    ...     def forward(self, map):
    ...         return torch.nn.functional.avg_pool2d(map, 3, 1, 1)
    >>> Blur(8)(torch.rand(1, 8, 5, 7)).shape
    torch.Size([1, 8, 5, 7])
    """

    in_channels: int
    out_channels: int
    radius: int | None = None
    size_multiple: int = 1
    ndim: int = 2

    def forward(self, map: Tensor) -> Tensor:
        """``(B, in_channels, *cells)`` -> ``(B, out_channels, *cells)``."""
        raise NotImplementedError(f"{type(self).__name__} does not implement forward()")

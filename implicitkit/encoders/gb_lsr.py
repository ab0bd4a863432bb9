"""The encoder of GB-LSR's autoencoder of patches (arXiv 2606.19617), its "native" form."""

from __future__ import annotations

from torch import Tensor, nn

from implicitkit.encoders.base import Encoder


class PatchEncoder(Encoder):
    """A convolution, then one of stride 2 for each halving of a patch, normalised over groups; stride ``patch``.

    The normalisation runs over the whole picture, so a picture cannot be encoded in tiles. The authors pad evenly on
    all sides by reflection; pictures here are padded at the bottom and right. Sides that ``patch`` divides need none.

    Args:
        patch: pixels a side of a cell, a power of 2 of at least 2.
        channels: width, and the number of features per cell.
        groups: of the normalisation; divides ``channels``.
        in_channels: picture channels, not normalised.
        mask_channels: further channels.

    >>> import torch
    >>> PatchEncoder(patch=4, channels=8)(torch.rand(1, 3, 10, 12)).map.shape
    torch.Size([1, 8, 3, 3])
    """

    mean, std = 0.0, 1.0

    def __init__(
        self, patch: int = 8, channels: int = 64, groups: int = 4, in_channels: int = 3, mask_channels: int = 0
    ) -> None:
        super().__init__()
        halvings = patch.bit_length() - 1
        if patch < 2 or patch != 2**halvings:
            raise ValueError(f"gb_lsr_patches takes a patch of 2, 4, 8, ... pixels; received {patch}")
        if min(channels, groups, in_channels) < 1 or mask_channels < 0 or channels % groups:
            raise ValueError(
                "gb_lsr_patches takes positive in_channels, channels that groups divides and mask_channels >= 0; "
                f"received {in_channels}, {channels}, {groups} and {mask_channels}"
            )
        self.in_channels, self.mask_channels, self.out_channels = in_channels, mask_channels, channels
        self.stride = self.size_multiple = patch
        layers: list[nn.Module] = []
        for k in range(1 + halvings):
            inputs = channels if k else in_channels + mask_channels
            layers += [nn.Conv2d(inputs, channels, 3, stride=2 if k else 1, padding=1)]
            layers += [nn.GroupNorm(groups, channels), nn.SiLU()]
        self.net = nn.Sequential(*layers, nn.Conv2d(channels, channels, 3, padding=1))

    def extract(self, x: Tensor) -> Tensor:
        features: Tensor = self.net(x)
        return features

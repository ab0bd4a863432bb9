"""RCAN without its upsampling tail (Zhang et al., ECCV 2018), as LIIF uses it."""

from __future__ import annotations

from torch import Tensor, nn

from implicitkit.encoders.base import Encoder, for_convolutions


class ChannelAttention(nn.Module):
    """Scales each channel by a bottleneck network of all channels' means over the picture (their eq. 6-8)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        narrow = channels // reduction
        self.gate = nn.Sequential(
            nn.Conv2d(channels, narrow, 1), nn.ReLU(inplace=True), nn.Conv2d(narrow, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        scale: Tensor = self.gate(x.mean((-2, -1), keepdim=True))
        return x * scale


class Residual(nn.Module):
    """``x + body(x)``."""

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.body(x)
        return x + residual


class RCAN(Encoder):
    """Residual groups of residual channel-attention blocks at the picture's own resolution; stride 1.

    The attention averages over the whole picture, so the encoder is global and cannot encode in tiles.

    Args:
        groups: residual groups (10).
        blocks: attention blocks per group (20).
        channels: width, and the number of features per pixel (64).
        reduction: ``channels`` over the width of the attention's bottleneck (16).
        in_channels: picture channels, each normalised by (x - 0.5)/0.5.
        mask_channels: further channels, not normalised.

    >>> RCAN(groups=1, blocks=1, channels=8, reduction=4).receptive_field
    'global'
    """

    radius = None

    def __init__(
        self,
        groups: int = 10,
        blocks: int = 20,
        channels: int = 64,
        reduction: int = 16,
        in_channels: int = 3,
        mask_channels: int = 0,
    ) -> None:
        super().__init__()
        if min(groups, blocks, channels, in_channels) < 1 or mask_channels < 0 or not 1 <= reduction <= channels:
            raise ValueError(
                "rcan takes groups, blocks, channels and in_channels >= 1, mask_channels >= 0 and a reduction from 1 "
                f"to channels; received {groups}, {blocks}, {channels}, {in_channels}, {mask_channels} and {reduction}"
            )
        self.in_channels, self.mask_channels = in_channels, mask_channels
        self.out_channels = channels

        def conv() -> nn.Conv2d:
            return nn.Conv2d(channels, channels, 3, padding=1)

        def block() -> Residual:
            return Residual(conv(), nn.ReLU(inplace=True), conv(), ChannelAttention(channels, reduction))

        self.head = nn.Conv2d(in_channels + mask_channels, channels, 3, padding=1)
        self.body = Residual(*(Residual(*(block() for _ in range(blocks)), conv()) for _ in range(groups)), conv())

    def extract(self, x: Tensor) -> Tensor:
        features: Tensor = self.body(self.head(for_convolutions(x)))
        return features

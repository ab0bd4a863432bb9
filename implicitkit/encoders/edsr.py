"""EDSR without its upsampling tail (Lim et al., CVPRW 2017), as LIIF and LTE use it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from implicitkit.encoders.base import Encoder, checked_normalisation, for_convolutions

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class ResidualBlock(nn.Module):
    """``x + res_scale * conv(relu(conv(x)))``; no normalisation."""

    def __init__(self, channels: int, res_scale: float, ndim: int) -> None:
        super().__init__()
        conv = CONVOLUTIONS[ndim]
        self.body = nn.Sequential(
            conv(channels, channels, 3, padding=1), nn.ReLU(inplace=True), conv(channels, channels, 3, padding=1)
        )
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.body(x)
        return x + (residual if self.res_scale == 1 else residual * self.res_scale)


class EDSR(Encoder):
    """Residual 3x3 convolutions at the picture's own resolution; stride 1.

    Args:
        blocks: number of residual blocks (16 for the baseline, 32 for the full model).
        channels: width, and the number of features per pixel (64; 256).
        res_scale: factor on each residual (1; 0.1 keeps the wide model stable).
        in_channels: picture channels, each normalised by (x - mean)/std.
        mask_channels: further channels, not normalised.
        ndim: 1, 2 or 3; the same network for signals and volumes.
        mean: subtracted from the picture's channels in [0, 1], a number or one per channel (0.5).
        std: they are divided by it (0.5).
        long_skip: add the first convolution's output to the last one's (GSASR's authors leave it out).
        size_multiple: pad pictures at the bottom and right to multiples, by mirroring without the border itself (GSASR
            pads to whole windows).

    >>> import torch
    >>> EDSR(blocks=1, channels=8)(torch.rand(1, 3, 10, 12)).map.shape
    torch.Size([1, 8, 10, 12])
    """

    def __init__(
        self,
        blocks: int = 16,
        channels: int = 64,
        res_scale: float = 1.0,
        in_channels: int = 3,
        mask_channels: int = 0,
        ndim: int = 2,
        mean: float | Sequence[float] = 0.5,
        std: float | Sequence[float] = 0.5,
        long_skip: bool = True,
        size_multiple: int = 1,
    ) -> None:
        super().__init__()
        self.mean, self.std = checked_normalisation("edsr", mean, std, in_channels)
        if blocks < 0 or min(channels, in_channels, size_multiple) < 1 or mask_channels < 0 or ndim not in CONVOLUTIONS:
            raise ValueError(
                "edsr takes blocks and mask_channels >= 0, channels, in_channels, size_multiple >= 1, ndim 1, 2 or 3; "
                f"received {blocks}, {mask_channels}, {channels}, {in_channels}, {size_multiple} and {ndim}"
            )
        conv = CONVOLUTIONS[ndim]
        self.in_channels, self.mask_channels, self.ndim = in_channels, mask_channels, ndim
        self.out_channels, self.long_skip = channels, long_skip
        self.size_multiple, self.repeat_border = size_multiple, False
        self.radius = 2 * blocks + 2  # one pixel per 3x3 convolution: head, two per block, the body's last
        self.head = nn.Sequential(conv(in_channels + mask_channels, channels, 3, padding=1))
        body: list[nn.Module] = [ResidualBlock(channels, res_scale, ndim) for _ in range(blocks)]
        self.body = nn.Sequential(*body, conv(channels, channels, 3, padding=1))

    def extract(self, x: Tensor) -> Tensor:
        shallow: Tensor = self.head(for_convolutions(x))
        deep: Tensor = self.body(shallow)
        return deep + shallow if self.long_skip else deep


def edsr(
    blocks: int = 32,
    channels: int = 256,
    res_scale: float = 0.1,
    in_channels: int = 3,
    mask_channels: int = 0,
    ndim: int = 2,
    mean: float | Sequence[float] = 0.5,
    std: float | Sequence[float] = 0.5,
    long_skip: bool = True,
    size_multiple: int = 1,
) -> EDSR:
    """EDSR at its published size, residuals scaled by 0.1; arguments as for :class:`EDSR`.

    >>> edsr(blocks=2, channels=8).radius
    6
    """
    return EDSR(blocks, channels, res_scale, in_channels, mask_channels, ndim, mean, std, long_skip, size_multiple)

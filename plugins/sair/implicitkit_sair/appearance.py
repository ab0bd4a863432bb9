"""SAIR's appearance encoder: the masked picture and its mask, seen widely, at full size (ECCV 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from implicitkit import Encoder

Padding = Literal["zeros", "reflect"]


class InstanceNorm(nn.InstanceNorm2d):
    """Each channel of each picture to mean 0 and variance 1; a map of one cell, which has no variance, to 0."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x[0, 0].numel() > 1 else x - x


class Reflected(nn.Conv2d):
    """A convolution that continues a map by its mirror image; where that is larger than the map, by its border."""

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (int(n) for n in self.padding)
        mode = "reflect" if x.shape[2] > rows and x.shape[3] > columns else "replicate"
        x = F.pad(x, (columns, columns, rows, rows), mode=mode)
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


CONVOLUTIONS = {"zeros": nn.Conv2d, "reflect": Reflected}


class DilatedBlock(nn.Module):
    """``x + norm(conv(relu(norm(conv(x)))))``, the first convolution dilated by 2.

    No convolution has a bias: the normalisation behind it would take it out again.
    """

    def __init__(self, channels: int, padding: Padding = "zeros") -> None:
        super().__init__()
        convolution = CONVOLUTIONS[padding]
        self.body = nn.Sequential(
            convolution(channels, channels, 3, padding=2, dilation=2, bias=False),
            InstanceNorm(channels),
            nn.ReLU(),
            convolution(channels, channels, 3, padding=1, bias=False),
            InstanceNorm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.body(x)
        return x + residual


class Appearance(Encoder):
    """A 7x7 convolution, two that halve the size, dilated residual blocks, and two that double it again; stride 1.

    The paper's encoder is given four channels, the masked picture and the mask. Instance normalisation is in the
    residual blocks alone: on the way in and out it would make the features blind to brightness and contrast. It spans
    the whole picture, so that the encoder is global and refuses tiles.

    Args:
        widths: channels at full, half and quarter size.
        blocks: number of residual blocks, at quarter size; 0 leaves the convolutions around them.
        channels: features per pixel.
        in_channels: picture channels, each normalised by (x - 0.5)/0.5.
        mask_channels: further channels, taken as they are.
        padding: of the first convolution and the blocks: ``"reflect"`` as the authors of MISF and SAIR have it, or
            ``"zeros"``, with which the shipped weights were trained.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> import torch
        >>> encoder = Appearance(widths=[4, 8, 16], blocks=1, channels=8, padding="reflect")
        >>> encoder(torch.rand(1, 4, 20, 30)).map.shape
        torch.Size([1, 8, 20, 32])
    """

    size_multiple = 4

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 256),
        blocks: int = 8,
        channels: int = 64,
        in_channels: int = 3,
        mask_channels: int = 1,
        padding: Padding = "zeros",
    ) -> None:
        super().__init__()
        if padding not in CONVOLUTIONS:
            raise ValueError(f"padding is 'zeros' or 'reflect'; received {padding!r}")
        if len(widths) != 3 or min(*widths, channels, in_channels) < 1 or min(blocks, mask_channels) < 0:
            raise ValueError(
                "sair_appearance takes three widths, channels and in_channels >= 1, blocks and mask_channels >= 0; "
                f"received {list(widths)}, {channels}, {in_channels}, {blocks} and {mask_channels}"
            )
        self.in_channels, self.mask_channels, self.out_channels = in_channels, mask_channels, channels
        full, half, quarter = widths
        self.down = nn.Sequential(
            CONVOLUTIONS[padding](in_channels + mask_channels, full, 7, padding=3),
            nn.ReLU(),
            nn.Conv2d(full, half, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(half, quarter, 4, stride=2, padding=1),
            nn.ReLU(),
        )
        self.body = nn.Sequential(*(DilatedBlock(quarter, padding) for _ in range(blocks)))
        self.up = nn.Sequential(
            nn.ConvTranspose2d(quarter, half, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(half, channels, 4, stride=2, padding=1),
        )

    def extract(self, x: Tensor) -> Tensor:
        features: Tensor = self.up(self.body(self.down(x)))
        return features

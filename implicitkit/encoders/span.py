"""SPAN without its upsampling tail (Wan et al., CVPRW 2024): attention without parameters, 3x3 convolutions alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from implicitkit.encoders.base import Encoder, for_convolutions, in_strips

PICTURE_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K, as the authors subtract it


class TrainingConv(nn.Module):
    """A 3x3 convolution trained as 1x1 -> 3x3 -> 1x1, twice as wide inside, plus a parallel 1x1 (their Conv3XC).

    Nothing nonlinear stands between, and the picture is padded before the first, so all are one zero-padded 3x3
    convolution. Its kernel is made at each call, which costs far less than the wide layers would on every pixel.

    >>> TrainingConv(3, 8)(torch.rand(1, 3, 5, 6)).shape
    torch.Size([1, 8, 5, 6])
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(in_channels, 2 * in_channels, 1)
        self.spatial = nn.Conv2d(2 * in_channels, 2 * channels, 3)
        self.reduce = nn.Conv2d(2 * channels, channels, 1)
        self.parallel = nn.Conv2d(in_channels, channels, 1)
        with torch.no_grad():  # PyTorch's own weights shrink a signal by sqrt(3); through 20 of these it would vanish
            for layer in (self.expand, self.spatial, self.reduce, self.parallel):
                layer.weight.mul_(math.sqrt(3))

    def merged(self) -> tuple[Tensor, Tensor]:
        """The kernel ``(channels, in_channels, 3, 3)`` and the bias ``(channels,)`` of the one convolution.

        In float32, or in float64 if the weights are.
        """
        layers = (self.expand, self.spatial, self.reduce, self.parallel)
        exact = torch.promote_types(self.expand.weight.dtype, torch.float32)
        with torch.autocast(self.expand.weight.device.type, enabled=False):
            first, middle, last, beside = (layer.weight.to(exact) for layer in layers)
            inner, outer, own, beside_own = (layer.bias.to(exact) for layer in layers if layer.bias is not None)
            taps = last[:, :, 0, 0] @ middle.flatten(1)  # (channels, 2 in_channels * 9)
            kernel = torch.einsum("omt,mi->oit", taps.unflatten(1, (-1, 9)), first[:, :, 0, 0])
            kernel = kernel.unflatten(2, (3, 3)) + F.pad(beside, (1, 1, 1, 1))
            bias = last[:, :, 0, 0] @ (middle.sum((2, 3)) @ inner + outer) + own + beside_own
        return kernel, bias

    def forward(self, x: Tensor) -> Tensor:
        kernel, bias = self.merged()
        return F.conv2d(x, kernel.to(x.dtype), bias.to(x.dtype), padding=1)

    @torch.no_grad()
    def folded(self) -> nn.Conv2d:
        """The one convolution, as a layer.

        >>> layer, x = TrainingConv(3, 8), torch.rand(1, 3, 5, 6)
        >>> torch.allclose(layer(x), layer.folded()(x), atol=1e-5)
        True
        """
        kernel, bias = self.merged()
        conv = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
        conv = conv.to(self.expand.weight)
        conv.weight.copy_(kernel)
        assert conv.bias is not None
        conv.bias.copy_(bias)
        return conv


def plain_conv(in_channels: int, channels: int) -> nn.Conv2d:
    """The folded form of :class:`TrainingConv`.

    >>> plain_conv(3, 8).kernel_size
    (3, 3)
    """
    return nn.Conv2d(in_channels, channels, 3, padding=1)


class Block(nn.Module):
    """Three convolutions; the last one's values are attention and residual at once (their eq. 3-5)."""

    def __init__(self, conv: Callable[[int, int], nn.Module], channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv(channels, channels) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, C, H, W)`` -> the output, and what the first convolution found, of the same shape."""
        over = not torch.is_grad_enabled()  # a graph needs what was there before
        inner = F.silu(self.convs[0](x), inplace=over)
        residual: Tensor = self.convs[2](F.silu(self.convs[1](inner), inplace=over))
        return in_strips(attention, residual, x, out=residual), inner


def attention(residual: Tensor, x: Tensor) -> Tensor:
    """``(residual + x) * (sigmoid(residual) - 0.5)``: large where the residual is.

    >>> attention(torch.zeros(1), torch.ones(1))
    tensor([0.])
    """
    if torch.is_grad_enabled():
        return (residual + x) * (residual.sigmoid() - 0.5)
    return (residual + x).mul_(residual.sigmoid().sub_(0.5))


class SPAN(Encoder):
    """Swift parameter-free attention, a fast network of 3x3 convolutions at the picture's own resolution; stride 1.

    In training each convolution is a chain of three, which learns better (:class:`TrainingConv`); :meth:`fold` makes
    each one plain layer: the same function with a fifth of the weights. Checkpoints of the authors' fixed-scale
    networks load as encoders, without their upsampling tail.

    Args:
        channels: width, and the number of features per pixel (48; 52 in the authors' challenge entry).
        blocks: number of blocks, at least one (6).
        mean: subtracted from the picture channels, which are in [0, 1]: a number, or one per channel (default: the
            authors', for 3 channels; else 0.5).
        value_range: the picture's values are multiplied by it after that (255).
        folded: plain 3x3 convolutions, as :meth:`fold` makes them.
        in_channels: picture channels.
        mask_channels: further channels, multiplied by ``value_range`` alone.

    >>> span = SPAN(channels=8, blocks=1)
    >>> x = torch.rand(1, 3, 10, 12)
    >>> before = span(x).map
    >>> torch.allclose(span.fold()(x).map, before, atol=1e-4)
    True
    """

    def __init__(
        self,
        channels: int = 48,
        blocks: int = 6,
        mean: Sequence[float] | float | None = None,
        value_range: float = 255.0,
        folded: bool = False,
        in_channels: int = 3,
        mask_channels: int = 0,
    ) -> None:
        super().__init__()
        if min(channels, blocks, in_channels) < 1 or mask_channels < 0 or not value_range > 0:
            raise ValueError(
                "span takes channels, blocks and in_channels >= 1, mask_channels >= 0 and value_range > 0; received "
                f"{channels}, {blocks}, {in_channels}, {mask_channels} and {value_range}"
            )
        if isinstance(mean, Sequence) and len(mean) != in_channels:
            raise ValueError(f"span's mean is a number, or one per picture channel; received {mean} for {in_channels}")
        self.in_channels, self.mask_channels = in_channels, mask_channels
        self.mean = (PICTURE_MEAN if in_channels == 3 else 0.5) if mean is None else mean
        self.value_range, self.std = value_range, 1 / value_range
        self.out_channels = channels
        self.radius = 3 * blocks + 2  # one pixel per 3x3 convolution
        conv = plain_conv if folded else TrainingConv
        self.first = conv(in_channels + mask_channels, channels)
        self.blocks = nn.ModuleList(Block(conv, channels) for _ in range(blocks))
        self.last = conv(channels, channels)
        self.fuse = nn.Conv2d(4 * channels, channels, 1)

    def extract(self, x: Tensor) -> Tensor:
        if self.mask_channels:
            x = torch.cat([x[:, : self.in_channels], x[:, self.in_channels :] * self.value_range], dim=1)
        first: Tensor = self.first(for_convolutions(x))
        x, early, inner = first, None, None
        for block in self.blocks:
            inner = None  # its memory is the block's
            x, inner = block(x)
            early = x if early is None else early
        assert early is not None and inner is not None
        maps = first, self.last(x), early, inner
        watched = self.fuse._forward_hooks or self.fuse._forward_pre_hooks  # hooks expect whole maps
        return self.joined(*maps) if watched else in_strips(self.joined, *maps)

    def joined(self, *maps: Tensor) -> Tensor:
        """The maps that the last layer joins ``(B, C, H, W)`` -> the features of their pixels."""
        fused: Tensor = self.fuse(torch.cat(maps, dim=1))
        return fused

    def fold(self) -> SPAN:
        """Make each convolution one plain layer, in place; the spec says ``folded: true`` from then on."""
        owners: list[nn.Module] = list(self.modules())
        for owner in owners:
            for name, child in list(owner.named_children()):
                if isinstance(child, TrainingConv):
                    owner.register_module(name, child.folded())
        if self._built_from is not None:
            self.spec = {**self._built_from, "folded": True}
        return self

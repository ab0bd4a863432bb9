"""Transformer blocks whose positions are relative, for pictures of any size and for any subset of their patches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

PERIOD = 100.0  # of the slowest rotation over 2π, in patches: longer than the pictures one trains on are wide


def cells(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Row and column of each patch, row by row: ``(height * width, 2)`` float32."""
    rows = torch.arange(height, dtype=torch.float32, device=device)
    columns = torch.arange(width, dtype=torch.float32, device=device)
    return torch.cartesian_prod(rows, columns).reshape(-1, 2)


def angles(positions: Tensor, size: int) -> Tensor:
    """What each pair of a head's ``size`` numbers is rotated by at ``positions`` ``(..., N, 2)``: ``(..., N, size/2)``.

    The first half of the pairs turns with the row, the second with the column, at size/4 speeds each, from one radian
    per patch down to nearly 1/100.
    """
    speeds = PERIOD ** -(torch.arange(size // 4, dtype=torch.float32, device=positions.device) / (size // 4))
    return (positions[..., None] * speeds).flatten(-2)


def rotate(x: Tensor, angle: Tensor) -> Tensor:
    """Rotate pair ``k`` of ``x`` ``(..., N, size)``, its numbers ``k`` and ``k + size/2``, by ``angle`` ``[..., k]``.

    The product of a rotated query and a rotated key depends on the difference of their positions alone (RoFormer,
    equation 16), so nothing has to be interpolated for a picture of another size.
    """
    first, second = x.float().chunk(2, dim=-1)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1).to(x.dtype)


class Block(nn.Module):
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))``; the hidden layer is four times as wide."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or width % (4 * heads):
            raise ValueError(
                f"a head's width must be a multiple of 4; received width {width} and {heads} heads, so make width a "
                f"multiple of {4 * max(1, heads)}"
            )
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """``x`` ``(B, N, width)`` at ``positions`` ``(N, 2)`` or ``(B, N, 2)``, rows and columns in patches."""
        x = x + self.out(self._attend(self.norm1(x), positions))
        x = x + self.mlp(self.norm2(x))
        return x

    def _attend(self, x: Tensor, positions: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(x), "b n (three heads c) -> three b heads n c", three=3, heads=self.heads)
        angle = angles(positions, q.shape[-1])
        angle = angle[:, None] if angle.ndim == 3 else angle
        attended = F.scaled_dot_product_attention(rotate(q, angle), rotate(k, angle), v)
        return rearrange(attended, "b heads n c -> b n (heads c)")

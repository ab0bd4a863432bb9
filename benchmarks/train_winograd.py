"""``implicitkit train`` with the 3x3 convolutions computed by Winograd's algorithm: 1.4 times the crops per second on a
processor with AVX2 alone, where oneDNN has no such kernel.

    OMP_NUM_THREADS=1 ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 benchmarks/train_winograd.py CONFIG.yaml [...]

F(4x4, 3x3) of Lavin and Gray (CVPR 2016, section 4): each tile of 4x4 outputs takes 36 multiplications per pair of
channels in place of 144. What is computed is the same up to rounding (1e-5 of the largest value). Only float32, 2-D
convolutions of stride 1 and padding 1 with at least 32 channels, on sizes that are multiples of 4, while training.

Set ``MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=8589934592`` as well: glibc otherwise returns every
large tensor's memory to the system and asks for it again.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Lavin and Gray, section 4.3: the transforms of data (B), filter (G) and output (A), transposed
B = [
    [4.0, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
G = [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1.0],
]
A = [[1.0, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]


def _both_axes(transform: list[list[float]]) -> Tensor:
    matrix = torch.tensor(transform)
    return torch.kron(matrix, matrix).contiguous()


DATA, FILTER, OUTPUT = _both_axes(B), _both_axes(G), _both_axes(A)  # (36, 36), (36, 9), (16, 36)
DATA_T, OUTPUT_T = DATA.t().contiguous(), OUTPUT.t().contiguous()
_scratch: dict[Any, Tensor] = {}


def scratch(name: str, *size: int) -> Tensor:
    """A buffer of that size, made once: fresh memory costs more than what is computed in it."""
    if (name, size) not in _scratch:
        _scratch[name, size] = torch.empty(size)
    return _scratch[name, size]


class Winograd(torch.autograd.Function):
    """``conv2d(x, weight, padding=1)``; channels last inside, picture by picture, so that a picture stays in cache."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """``x (B, C, H, W)``, ``weight (K, C, 3, 3)`` -> ``(B, K, H, W)``."""
        (n, c, height, width), k = x.shape, weight.shape[0]
        h, w = height // 4, width // 4
        tiles = h * w
        filters = (FILTER @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(36, c, k)
        y, kept = torch.empty(n, height, width, k), torch.empty(n, 36, tiles * c)
        padded = scratch("padded", height + 2, width + 2, c).zero_()
        down, right, _ = padded.stride()
        windows = padded.as_strided((6, 6, h, w, c), (down, right, 4 * down, 4 * right, 1))
        laid_out, products = scratch("laid out", 6, 6, h, w, c), scratch("products", 36, tiles, k)
        outputs = scratch("outputs", 16, tiles * k)
        for i, picture in enumerate(x.permute(0, 2, 3, 1)):
            padded[1:-1, 1:-1] = picture
            laid_out.copy_(windows)
            torch.mm(DATA, laid_out.view(36, -1), out=kept[i])
            torch.bmm(kept[i].view(36, tiles, c), filters, out=products)
            torch.mm(OUTPUT, products.view(36, -1), out=outputs)
            y[i].view(h, 4, w, 4, k).copy_(outputs.view(4, 4, h, w, k).permute(2, 0, 3, 1, 4))
        ctx.save_for_backward(kept, filters)
        ctx.sizes = n, c, k, h, w
        return y.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """The transposes of the same steps, in the opposite order."""
        kept, filters = ctx.saved_tensors
        n, c, k, h, w = ctx.sizes
        tiles = h * w
        to_filters, to_x = torch.zeros(36, c, k), torch.empty(n, 4 * h, 4 * w, c)
        laid_out, products = scratch("d outputs", 4, 4, h, w, k), scratch("d products", 36, tiles * k)
        to_data, to_windows = scratch("d data", 36, tiles, c), scratch("d windows", 36, tiles * c)
        folded = scratch("folded", h + 1, 4, w + 1, 4, c)
        windows = to_windows.view(6, 6, h, w, c)
        for i, one in enumerate(gradient.permute(0, 2, 3, 1)):
            laid_out.copy_(one.reshape(h, 4, w, 4, k).permute(1, 3, 0, 2, 4))
            torch.mm(OUTPUT_T, laid_out.view(16, -1), out=products)
            by_tile = products.view(36, tiles, k)
            to_filters.baddbmm_(kept[i].view(36, tiles, c).transpose(1, 2), by_tile)
            torch.bmm(by_tile, filters.transpose(1, 2), out=to_data)
            torch.mm(DATA_T, to_data.view(36, -1), out=to_windows)
            folded.zero_()  # a window overlaps its neighbours by two pixels
            folded[:h, :, :w] = windows[:4, :4].permute(2, 0, 3, 1, 4)
            folded[1:, :2, :w] += windows[4:, :4].permute(2, 0, 3, 1, 4)
            folded[:h, :, 1:, :2] += windows[:4, 4:].permute(2, 0, 3, 1, 4)
            folded[1:, :2, 1:, :2] += windows[4:, 4:].permute(2, 0, 3, 1, 4)
            to_x[i] = folded.view(4 * h + 4, 4 * w + 4, c)[1 : 4 * h + 1, 1 : 4 * w + 1]
        to_weight = (FILTER.t() @ to_filters.view(36, -1)).view(3, 3, c, k).permute(3, 2, 0, 1)
        return to_x.permute(0, 3, 1, 2), to_weight


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0) -> Tensor:
    """``torch.nn.functional.conv2d``, by Winograd's algorithm where that pays."""
    suits = weight.shape[2:] == (3, 3) and padding in (1, (1, 1)) and stride in (1, (1, 1))
    if suits and min(weight.shape[:2]) >= 32 and x.shape[2] % 4 == x.shape[3] % 4 == 0 and x.requires_grad:
        y: Tensor = Winograd.apply(x, weight)
        return y if bias is None else y + bias.view(-1, 1, 1)
    return F.conv2d(x, weight, bias, stride, padding)


def install() -> None:
    """Have the layers of the networks, and LIIF's unfolded first layer, call :func:`conv2d`."""
    from implicitkit.decoders import liif

    def forward(self: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.dilation != (1, 1) or self.groups != 1 or self.padding_mode != "zeros":
            return direct(self, x, weight, bias)
        return conv2d(x, weight, bias, self.stride, self.padding)

    direct = nn.Conv2d._conv_forward
    nn.Conv2d._conv_forward = forward  # type: ignore[method-assign]
    liif.CONVOLVE[2] = conv2d  # type: ignore[assignment]


if __name__ == "__main__":
    from implicitkit.cli.main import main

    install()
    sys.argv.insert(1, "train")
    main()

"""What a compiler that we never saw made of the CPU kernel is tried before it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from implicitkit.decoders.rows import Rows
from implicitkit.kernels.places import Places

if TYPE_CHECKING:
    from implicitkit.kernels.cpu import CPUKernel


def agrees(kernel: CPUKernel) -> bool:
    """Whether the kernel computes what it should on a small example, for LIIF and for LTE."""
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        waves, points, hidden = 20, 9, 24
        number = torch.Generator("cpu").manual_seed(0)  # nobody else's random numbers are used up

        def drawn(*shape: int) -> Tensor:
            return torch.rand(shape, generator=number, dtype=torch.float32, device="cpu") * 2 - 1

        def layer(before: int, after: int) -> nn.Linear:
            made = skip_init(nn.Linear, before, after, dtype=torch.float32, device="cpu")
            for p in made.parameters():
                p.copy_(drawn(*p.shape))
            return cast(nn.Linear, made)

        layers = [layer(2 * waves, hidden), layer(hidden, 3)]
        cell, off = torch.arange(points, device="cpu")[None], [drawn(1, points), drawn(1, points)]
        where = Places(torch.zeros_like(cell), off[0], cell, off[1], points, points, False, 1)
        offset, phase, geometry = torch.cat(off).t(), drawn(waves), drawn(3, 2 * waves)

        def mlp(first: Tensor) -> Tensor:
            return layers[1](layers[0](first).relu())  # type: ignore[no-any-return]

        def close(found: Tensor, expected: Tensor) -> bool:
            bound = 1e-4 if kernel.dtype == torch.float32 else 0.02
            return bool(((found[0] - expected).abs() <= bound * expected.abs().max()).all())

        sums, textures = drawn(1, points, 2 * waves), drawn(1, points, 4 * waves) * 5
        first = (sums[0] + offset @ geometry[:2] + geometry[2]).relu()
        found = kernel.liif(
            Rows(sums, (1, points), (0, 0), (1, points)), where, geometry[:2], geometry[2], kernel.pack(layers)
        )
        if not close(found, mlp(first)):
            return False
        amplitude, frequency = textures[0].split(2 * waves, dim=1)
        angle = frequency[:, :waves] * offset[:, :1] + frequency[:, waves:] * offset[:, 1:] + phase
        first = amplitude * torch.cat([angle.cos(), angle.sin()], dim=1)
        found = kernel.lte(Rows(textures, (1, points), (0, 0), (1, points)), where, phase, kernel.pack(layers, 2))
        return close(found, mlp(first))

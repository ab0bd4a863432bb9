"""Small examples on which a GPU's kernels are tried before they are used: no test has run on this card.

What a kernel brings is compared with plain arithmetic in float64 that rounds to the kernel's dtype where it does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from implicitkit.decoders.neighbours import QueryNeighbours
from implicitkit.decoders.rows import Rows

BOUNDS = {torch.float32: 1e-4, torch.float16: 1e-3, torch.bfloat16: 6e-3}  # of the largest value
TF32_BOUND = 6e-3
INTERPRETED_BOUND = 0.02  # Triton's interpreter cuts bits off for bfloat16, rather than rounding
CELLS, QUERIES = (5, 6), (7, 9)  # of the example; several programs, the last one not full


class Example:
    """Random rows, layers and queries for a kernel's exact widths, always the same.

    Attributes:
        source: rows of ``row`` numbers.
        near: the cells around a grid of queries, or around as many points.
    """

    def __init__(self, row: int, like: Tensor, near: QueryNeighbours) -> None:
        self.generator = torch.Generator("cpu").manual_seed(0)  # leave the global generator alone
        self.device = like.device
        rows = self.random(1, CELLS[0] * CELLS[1], row).to(like.dtype)
        self.source = Rows(rows, CELLS, (0, 0), CELLS)
        y, x = (torch.linspace(-0.93, 0.97, n, dtype=torch.float32, device=self.device) for n in QUERIES)
        axes = [y[None, :, None], x[None, None, :]]
        if not near.grid:
            axes = [axis.expand(1, *QUERIES).flatten(1) for axis in axes]
        self.near = QueryNeighbours.of(axes, self.source, ensemble=near.sides == 2)

    def random(self, *shape: int) -> Tensor:
        """Uniform in [-1, 1]."""
        drawn = torch.rand(shape, generator=self.generator, dtype=torch.float32, device="cpu")
        return (drawn * 2 - 1).to(self.device)

    def layers(self, like: Sequence[nn.Linear]) -> list[nn.Linear]:
        """Layers of the same widths through which values keep their size."""
        made = []
        for layer in like:
            own = skip_init(nn.Linear, layer.in_features, layer.out_features, device=self.device, dtype=torch.float32)
            own.weight.copy_(self.random(*own.weight.shape) * (6 / layer.in_features) ** 0.5)
            own.bias.copy_(self.random(layer.out_features))
            made.append(cast(nn.Linear, own))
        return made

    def blended(self, local: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """The blend of ``local(rows, dy, dx)`` over the neighbours of each query, ``(N, out)`` float64."""
        near, rows = self.near, self.source.rows[0].double()
        cell_y, off_y, cell_x, off_x = (t if t.dtype == torch.int64 else t.double() for t in near[:4])
        if near.grid:
            cell_y, off_y = (t.repeat_interleave(QUERIES[1], dim=1) for t in (cell_y, off_y))
            cell_x, off_x = (t.repeat(1, QUERIES[0]) for t in (cell_x, off_x))
        total: Tensor | None = None
        for sy in range(near.sides):
            for sx in range(near.sides):
                values = local(rows[cell_y[sy] * CELLS[1] + cell_x[sx]], off_y[sy, :, None], off_x[sx, :, None])
                if near.sides > 1:
                    values = values * (_share(off_y, sy) * _share(off_x, sx))[:, None]
                total = values if total is None else total + values
        assert total is not None
        return total


def _share(off: Tensor, side: int) -> Tensor:
    return off[1 - side].abs() / off.abs().sum(dim=0)


def ensemble_agrees(kernel: Any, form: str, like: Rows, near: QueryNeighbours, mlp: Sequence[nn.Linear]) -> bool | None:
    """Whether the method ``form`` of a kernel is right for rows and queries like these and an MLP of these widths; None
    if it did not run.
    """
    with torch.no_grad(), torch.autocast(like.rows.device.type, enabled=False):
        example = Example(like.rows.shape[-1], like.rows, near)
        layers, width = example.layers(mlp), mlp[0].in_features
        geometry, constant = example.random(2, width), example.random(width)
        phase, dtype = example.random(width // 2), kernel.dtype

        def narrow(values: Tensor) -> Tensor:
            return values.to(dtype).double()

        def linear(layer: nn.Linear, values: Tensor) -> Tensor:
            return narrow(values) @ narrow(layer.weight).t() + layer.bias.double()

        def placed(dy: Tensor, dx: Tensor) -> Tensor:
            return dy * geometry[0].double() + dx * geometry[1].double() + constant.double()

        def sums(rows: Tensor, dy: Tensor, dx: Tensor) -> Tensor:
            values = rows + placed(dy, dx)
            for layer in layers:
                values = linear(layer, values.relu())
            return values

        def waves(rows: Tensor, dy: Tensor, dx: Tensor) -> Tensor:
            amplitude, along_y, along_x = rows.split([width, width // 2, width // 2], dim=1)
            angle = along_y * dy + along_x * dx + phase.double()
            values = linear(layers[0], amplitude * torch.cat([angle.cos(), angle.sin()], dim=1))
            for layer in layers[1:]:
                values = linear(layer, values.relu())
            return values

        def modulated(rows: Tensor, dy: Tensor, dx: Tensor) -> Tensor:
            scales, shifts = rows.unflatten(1, (2, len(layers), width)).unbind(1)
            values = placed(dy, dx)
            for k, layer in enumerate(layers):
                values = linear(layer, (shifts[:, k] + scales[:, k] * values).relu())
            return values

        own = (phase,) if form == "waves" else (geometry, constant)
        found: Tensor | None = getattr(kernel, form)(example.source, example.near, layers, *own)
        if found is None:
            return None
        bound = BOUNDS[dtype] if kernel.exact or dtype != torch.float32 else TF32_BOUND
        if dtype == torch.bfloat16 and not found.is_cuda:
            bound = INTERPRETED_BOUND
        return close(found[0], example.blended({"sums": sums, "waves": waves, "modulated": modulated}[form]), bound)


def close(found: Tensor, expected: Tensor, bound: float) -> bool:
    """Whether all values differ by at most ``bound`` times the largest."""
    return bool(((found - expected).abs() <= bound * expected.abs().max()).all())

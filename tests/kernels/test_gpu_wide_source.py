"""LIIF and LTE on Hopper's tensor cores: the kernel's logic on a CPU, and its code compiled ahead."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from implicitkit.decoders.neighbours import QueryNeighbours
from implicitkit.decoders.rows import Rows
from implicitkit.kernels import gpu, gpu_wide, trial
from oracles import gluon_on_cpu
from oracles.ahead import SHARED_BYTES, compiled_ahead

WIDTHS = (256, 256, 256, 3)


class OnCPU:
    """The kernel as :func:`implicitkit.kernels.trial.ensemble_agrees` asks for one."""

    dtype, exact = torch.bfloat16, False

    def sums(self, source: Rows, near: QueryNeighbours, layers: list[nn.Linear], *own: torch.Tensor) -> torch.Tensor:
        return self.run(source, near, gpu.pack(layers, self.dtype), own, waves=False)

    def waves(self, source: Rows, near: QueryNeighbours, layers: list[nn.Linear], *own: torch.Tensor) -> torch.Tensor:
        return self.run(source, near, gpu.pack(layers, self.dtype, 2), own, waves=True)

    def run(self, source: Rows, near: QueryNeighbours, mlp: gpu.Packed, own: Any, *, waves: bool) -> torch.Tensor:
        depth = len(mlp.widths) - 2
        wide = depth * 256 * 256
        out = torch.full((len(source.rows), near.points, mlp.out), float("nan"))
        tiles = -(-near.points * near.sides**2 // gpu_wide.ROWS) * len(out)
        own = (own[0], own[-1])
        sizes = [near.points, near.width, near.cell_y.shape[1], near.cell_x.shape[1], source.rows.shape[1]]
        sizes.append(source.cells[1])
        matrices = gluon_on_cpu.Memory(mlp.weights[:wide].view(-1, 256))
        options = {"OUT": mlp.out, "GRID": near.grid, "SIDES": near.sides, "DEPTH": depth, "WAVES": waves}
        with gluon_on_cpu.source() as module:
            gluon_on_cpu.launch(
                module.ensemble,
                1,
                [out, source.rows, *near[:4], *own, matrices, mlp.weights[wide:], mlp.biases, *sizes, tiles],
                options,
            )
        return out


@pytest.mark.parametrize("form", ["sums", "waves"])
@pytest.mark.parametrize("grid", [True, False])
def test_the_kernel_is_right_and_its_ring_keeps_step(form: str, grid: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "QUERIES", (9, 11))  # several tiles, the last one not full
    monkeypatch.setattr(trial, "INTERPRETED_BOUND", trial.BOUNDS[torch.bfloat16])  # it rounds as a card does
    layers = [nn.Linear(a, b) for a, b in pairwise((256, *WIDTHS))]
    source = Rows(torch.zeros(1, 30, 512 if form == "waves" else 256, dtype=torch.bfloat16), (5, 6), (0, 0), (5, 6))
    near = SimpleNamespace(grid=grid, sides=2)
    assert trial.ensemble_agrees(OnCPU(), form, source, near, layers)  # type: ignore[arg-type]


def test_sizes_are_those_of_the_launch() -> None:
    with gluon_on_cpu.source() as module:
        sizes = (module.ROWS, module.WIDTH, module.LAST, module.SLICE)
    assert sizes == (gpu_wide.ROWS, gpu_wide.WIDTH, gpu_wide.LAST, gpu_wide.SLICE)


def test_whole_turns_are_taken_off_angles() -> None:
    angle = torch.linspace(-5000, 5000, 100_001)
    with gluon_on_cpu.source() as module:
        cosine, sine = module.cosine_and_sine(angle)
    assert (cosine - angle.double().cos()).abs().max() <= 1e-6
    assert (sine - angle.double().sin()).abs().max() <= 1e-6


@pytest.mark.slow
def test_it_compiles_for_a_card_that_is_not_here() -> None:
    if not gpu_wide.gluon_there():
        pytest.skip("this Triton has no such Gluon")
    cases = compiled_ahead("ensemble")
    assert len(cases) == 2
    for _name, shared, size, hopper in cases:
        assert shared <= SHARED_BYTES and size > 1000 and hopper

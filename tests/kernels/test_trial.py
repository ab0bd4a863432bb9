"""A kernel is tried on a small example before it is used, and not used where it is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

import implicitkit as ik
from implicitkit.kernels import evaluate, gpu, gpu_basis, plain_path, trial
from oracles import models as ensembles

pytest.importorskip("triton", reason="Triton comes with PyTorch where there may be a GPU")

HERE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(autouse=True)
def untried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing has been tried in this process."""
    monkeypatch.setattr(gpu, "_broken", set())
    monkeypatch.setattr(gpu, "_proven", set())
    yield


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("decoder", ["liif", "lte", "lmf"])
def test_a_right_kernel_is_tried_once_and_used(
    decoder: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[bool | None] = []
    agrees = trial.ensemble_agrees

    def watched(*arguments: Any) -> bool | None:
        tried.append(agrees(*arguments))
        return tried[-1]

    monkeypatch.setattr(gpu, "ensemble_agrees", watched)
    monkeypatch.setattr(gpu, "dtype_for", lambda rows, widths: dtype)
    field = ensembles.made(decoder, "paper", HERE).encode(torch.rand(3, 4, 5, device=HERE))
    for _ in range(2):
        field.render((6, 7))
    assert tried == [True] and len(gpu._proven) == 1


@pytest.mark.parametrize("decoder", ["liif", "lte", "lmf"])
def test_a_wrong_kernel_is_not_used(decoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = gpu.pack

    def damaged(*arguments: Any) -> gpu.Packed:
        made = pack(*arguments)
        return made._replace(biases=made.biases + 0.1)

    model, picture = ensembles.made(decoder, "paper", HERE), torch.rand(3, 4, 5, device=HERE)
    with plain_path():
        expected = model.encode(picture).render((6, 7), clamp=False)
    monkeypatch.setattr(gpu, "pack", damaged)
    monkeypatch.setattr(gpu, "dtype_for", lambda rows, widths: torch.float32)
    with pytest.warns(UserWarning, match="kernel is wrong here, the plain path serves") as said:
        found = [model.encode(picture).render((6, 7), clamp=False) for _ in range(2)]
    assert len(said) == 1 and all(torch.allclose(each, expected, atol=1e-6) for each in found)


@pytest.mark.parametrize("decoder", [{"name": "thera", "components": 5}, {"name": "gb_lsr", "order": 4}])
def test_a_wrong_basis_kernel_is_not_used(decoder: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = (
        ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 8}, "decoder": decoder}).eval().to(HERE)
    )
    picture, launched = torch.rand(3, 4, 5, device=HERE), gpu_basis.launched

    def damaged(name: str, settings: Any, out: torch.Tensor, *others: Any) -> bool:
        ran = launched(name, settings, out, *others)
        out.add_(0.1)
        return ran

    with plain_path():
        expected = model.encode(picture).render((6, 7), clamp=False)
    monkeypatch.setattr(evaluate, "_basis_kernel_for", lambda like: gpu_basis.GPUBasisKernel())
    found = model.encode(picture).render((6, 7), clamp=False)
    assert len(gpu._proven) == 1 and torch.allclose(found, expected, atol=1e-5)
    gpu._proven.clear()
    monkeypatch.setattr(gpu_basis, "launched", damaged)
    with pytest.warns(UserWarning, match="kernel is wrong here") as said:
        found = [model.encode(picture).render((6, 7), clamp=False) for _ in range(2)][1]
    assert len(said) == 1 and torch.allclose(found, expected, atol=1e-5)


def test_nothing_is_tried_while_a_graph_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "is_recorded", lambda out: True)
    calls: list[str] = []
    here = torch.zeros(1, device=HERE)
    assert not gpu.launched("liif", ("here",), here, lambda: calls.append("run"), lambda: bool(calls.append("try")))
    gpu._proven.add(("liif", here.device, ("here",)))
    assert gpu.launched("liif", ("here",), here, lambda: calls.append("run"), lambda: False) and calls == ["run"]

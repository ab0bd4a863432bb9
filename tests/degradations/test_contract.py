"""What every registered degradation, and any chain of them, must do."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

import implicitkit as ik
from implicitkit.degradations.base import seeded

SPECS: dict[str, Any] = {
    "super_resolution": {"name": "super_resolution", "scale": [1.5, 3]},
    "super_resolution, fixed": {"name": "super_resolution", "scale": 2.7, "kernel": "pil", "quantise": True},
    "super_resolution, per axis": {"name": "super_resolution", "scale": [1.5, 3], "per_axis": True},
    "super_resolution, size": {"name": "super_resolution", "size": [9, 10]},
    "chain": [{"name": "super_resolution", "scale": [1, 2]}, {"name": "super_resolution", "scale": [1, 2]}],
}


def test_every_registered_degradation_is_under_contract() -> None:
    assert set(ik.list_degradations()) <= {name.partition(",")[0] for name in SPECS}


@pytest.fixture(params=SPECS, ids=str)
def degradation(request: pytest.FixtureRequest) -> ik.Degradation:
    return ik.create_degradation(SPECS[request.param])


@pytest.fixture
def batch() -> torch.Tensor:
    return torch.rand(3, 3, 29, 37)


def same(a: ik.Degraded, b: ik.Degraded) -> bool:
    return torch.equal(a.image, b.image) and torch.equal(a.mask, b.mask) and torch.equal(a.reference, b.reference)


def test_a_record_survives_json_and_replays_bit_for_bit(degradation: ik.Degradation, batch: torch.Tensor) -> None:
    seen = degradation(batch, seeded(1))
    record = json.loads(json.dumps(seen.record))
    assert record == seen.record
    assert same(degradation.apply(batch, record), seen)
    one = degradation(batch[0], seeded(1))
    assert same(degradation.apply(batch[0], json.loads(json.dumps(one.record))), one)


def test_a_seed_gives_the_same_alone_and_in_a_batch(degradation: ik.Degradation, batch: torch.Tensor) -> None:
    alone, together = degradation(batch[0], seeded(7)), degradation(batch, seeded(7))
    assert alone.record == together.record[0]
    torch.testing.assert_close(alone.image, together.image[0], atol=1e-6, rtol=0)
    assert torch.equal(alone.reference, together.reference[0])


def test_seeds_matter_and_global_randomness_does_not(degradation: ik.Degradation, batch: torch.Tensor) -> None:
    torch.manual_seed(1)
    first = degradation(batch, seeded(5))
    torch.manual_seed(2)
    assert same(first, degradation(batch, seeded(5)))
    torch.manual_seed(3)
    drawn = [degradation(batch[0]).record for _ in range(2)]
    torch.manual_seed(3)
    assert degradation(batch[0]).record == drawn[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_range_dtype_and_shapes(degradation: ik.Degradation, batch: torch.Tensor, dtype: torch.dtype) -> None:
    seen = degradation(batch.to(dtype), seeded(2))
    assert seen.image.dtype == seen.reference.dtype == dtype
    assert seen.image.min() >= 0 and seen.image.max() <= 1
    assert seen.image.shape[:2] == (3, 3)
    assert seen.mask.shape == (3, 1, *seen.image.shape[2:])
    assert set(seen.mask.unique().tolist()) <= {0.0, 1.0}
    h, w = seen.reference.shape[2:]
    assert torch.equal(seen.reference, batch.to(dtype)[..., :h, :w])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_what_the_cpu_gives(degradation: ik.Degradation, batch: torch.Tensor) -> None:
    seen = degradation(batch, seeded(2))
    there = degradation.apply(batch.cuda(), seen.record)
    torch.testing.assert_close(there.image.cpu(), seen.image, atol=1e-5, rtol=0)


def test_wrong_input_is_named(degradation: ik.Degradation) -> None:
    record = degradation.sample((3, 29, 37), seeded(0))
    with pytest.raises(ValueError, match="received torch.uint8"):
        degradation.apply(torch.zeros(3, 29, 37, dtype=torch.uint8), record)
    with pytest.raises(ValueError, match="received 2"):
        degradation.apply(torch.rand(3, 3, 29, 37), [record, record])

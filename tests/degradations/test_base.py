"""What a degradation prints at a prompt."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import implicitkit as ik
from implicitkit.degradations.base import Chain, Step, seeded
from implicitkit.degradations.inpainting import Inpainting


def test_a_degradation_prints_as_the_python_that_makes_it() -> None:
    holes = Inpainting("strokes", [0.05, 0.6], fill="mean")
    assert repr(holes) == repr(copy.deepcopy(holes)) == repr(pickle.loads(pickle.dumps(holes)))
    assert repr(holes).startswith("Inpainting(kind='strokes', ratio=[0.05, 0.6], fill='mean', ")
    assert repr(eval(repr(holes))) == repr(holes)
    chain = ik.create_degradation([{"name": "super_resolution", "scale": 4}, "jpeg"])
    assert repr(chain).startswith("Chain(steps=[SuperResolution(scale=4.0, ") and ", Jpeg(" in repr(chain)


def test_a_degradation_of_somebody_elses_prints_too() -> None:
    class Dim(ik.Degradation):
        def __init__(self, by: float = 0.5) -> None:
            self.by = by

    assert repr(Dim(0.25)) == "Dim(by=0.25)" and repr(Dim()) == "Dim(by=0.5)"


def ratio_of(seen: ik.Degraded) -> float:
    return seen.mask.double().mean().item()


def test_holes_add_up_in_a_chain() -> None:
    steps = [{"name": "inpainting", "kind": "half", "sides": side, "fill": 1} for side in ("left", "top")]
    seen = ik.create_degradation(steps)(torch.zeros(3, 8, 8))
    assert torch.equal(seen.mask[0, 4:, 4:], torch.zeros(4, 4)) and seen.mask.sum() == 48
    assert torch.equal(seen.image, seen.mask.expand(3, 8, 8))


def test_a_record_fits_a_training_crop_of_another_size() -> None:
    chain = ik.create_degradation(
        ["blur", {"name": "super_resolution", "scale": [1, 3]}, {"name": "inpainting", "ratio": [0.2, 0.3]}, "jpeg"]
    )
    for seed in range(10):
        record = chain.sample((3, 200, 300), seeded(seed))
        source = chain.source_size((16, 16), record)
        seen = chain.apply(torch.rand(3, *source), record)
        assert seen.image.shape == (3, 16, 16) and source[0] - 1 <= seen.reference.shape[1] <= source[0]
        assert 0.2 <= ratio_of(seen) <= 0.3


def test_a_batch_through_a_chain_shares_its_scale_but_not_its_holes() -> None:
    chain = ik.create_degradation([{"name": "super_resolution", "scale": [1.5, 3]}, "inpainting", "noise"])
    seen = chain(torch.rand(4, 3, 30, 30), seeded(0))
    assert isinstance(chain, Chain)
    assert len({str(r["steps"][0]) for r in seen.record}) == 1
    assert len({str(r["steps"][1]) for r in seen.record}) == len({str(r["steps"][2]) for r in seen.record}) == 4
    assert not torch.equal(seen.mask[0], seen.mask[1])


def test_a_chain_covers_what_its_last_step_covers() -> None:
    chain = ik.create_degradation([{"name": "super_resolution", "scale": 2}, {"name": "super_resolution", "scale": 3}])
    seen = chain(torch.rand(3, 101, 61))  # 101 -> 50 -> 16 pixels of 6; 61 -> 30 -> 10
    assert seen.image.shape[1:] == (16, 10)
    assert seen.reference.shape[1:] == (96, 60)
    assert chain.source_size((8, 8), chain.sample((3, 99, 99), seeded(0))) == (48, 48)


def test_a_chain_samples_each_step_with_the_shape_it_will_see() -> None:
    shapes = []

    class Spy(ik.Degradation):
        def sample(self, shape, generator):
            shapes.append(tuple(shape))
            return {}

        def degrade(self, image, mask, record):
            return Step(image, mask, tuple(image.shape[2:]))

    Chain([ik.create_degradation("super_resolution", scale=4), Spy()])(torch.rand(3, 32, 40))
    assert shapes == [(3, 8, 10)]


VOLUMES = [
    {"name": "noise", "sigma": 20},
    {"name": "noise", "kind": "poisson"},
    {"name": "blur", "sigma": 1.2},
    {"name": "super_resolution", "scale": [4, 1, 1], "per_axis": True},
    {"name": "super_resolution", "scale": [1, 3]},
    {"name": "inpainting", "ratio": 0.3},
    {"name": "inpainting", "kind": "scattered", "ratio": [0.2, 0.4], "fill": "mean"},
]


@pytest.mark.parametrize("spec", VOLUMES, ids=lambda spec: spec["name"])
def test_volumes(spec: dict) -> None:
    """A volume alone and as a batch of one give the same, and a record replays to the bit."""
    degradation = ik.create_degradation({**spec, "ndim": 3})
    volume = torch.rand(1, 12, 10, 8)
    one = degradation(volume, seeded(3))
    batch = degradation(volume[None], seeded(3))
    assert one.image.ndim == 4 and one.mask.shape == one.image.shape
    assert torch.equal(batch.image[0], one.image) and batch.record == [one.record]
    again = degradation.apply(volume, one.record)
    assert torch.equal(again.image, one.image) and torch.equal(again.mask, one.mask)
    if spec["name"] == "inpainting":
        assert 0.2 <= one.mask.mean() <= 0.4
        assert torch.equal(one.image[one.mask < 0.5], volume[one.mask < 0.5])
    if spec.get("per_axis"):
        assert one.image.shape == (1, 3, 10, 8)


def test_a_volume_is_blurred_alike_along_each_axis() -> None:
    point = torch.zeros(1, 9, 9, 9)
    point[0, 4, 4, 4] = 1
    blurred = ik.create_degradation("blur", sigma=1.0, ndim=3).apply(point, {"kind": "gaussian", "sigma": 1.0}).image[0]
    flat = (
        ik.create_degradation("blur", sigma=1.0).apply(point[0, 4][None], {"kind": "gaussian", "sigma": 1.0}).image[0]
    )
    torch.testing.assert_close(blurred, blurred.permute(2, 0, 1))
    torch.testing.assert_close(blurred.sum(0), flat, atol=1e-6, rtol=0)


def test_what_is_known_of_pictures_alone_is_refused_for_volumes() -> None:
    with pytest.raises(ValueError, match="motion"):
        ik.create_degradation("blur", kind="motion", ndim=3)
    with pytest.raises(ValueError, match="strokes"):
        ik.create_degradation("inpainting", kind="strokes", ndim=3)
    with pytest.raises(ValueError, match="noise takes ndim 2 .* received 4"):
        ik.create_degradation("noise", ndim=4)
    with pytest.raises(ValueError, match=r"volume \(C, D, H, W\) or batch .* received .*\(3, 8, 8\)"):
        ik.create_degradation("noise", ndim=3)(torch.rand(3, 8, 8))
    with pytest.raises(ValueError, match="ndim=3 takes volumes"):
        ik.create_degradation("noise").apply(torch.rand(1, 1, 8, 8, 8), {})
    with pytest.raises(ValueError, match=r"one ndim; received \[3, 2\]"):
        ik.create_degradation([{"name": "noise", "ndim": 3}, "jpeg"])
    with pytest.raises(ValueError, match="volumes take a number, mean or noise"):
        ik.create_degradation("inpainting", ndim=3, fill="harmonic")(torch.rand(1, 6, 6, 6))


def test_values_that_are_no_picture_are_refused() -> None:
    for image, message in ((torch.full((3, 8, 8), 200.0), "divide 8-bit values by 255"), (torch.full((3, 8, 8), torch.nan), "NaN")):  # fmt: skip
        with pytest.raises(ValueError, match=f"a clean picture holds .*{message}"):
            ik.create_degradation("noise")(image)


def test_what_is_no_tensor_is_named() -> None:
    with pytest.raises(ValueError, match="takes a floating-point tensor .*; received list"):
        ik.create_degradation("noise")([[0.0]])

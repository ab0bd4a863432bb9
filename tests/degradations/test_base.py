"""What a degradation prints at a prompt."""

from __future__ import annotations

import copy
import pickle

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

"""What a degradation prints at a prompt."""

from __future__ import annotations

import copy
import pickle

import implicitkit as ik
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

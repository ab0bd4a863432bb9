"""Settings that are fixed or drawn."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from implicitkit.degradations.base import seeded
from implicitkit.degradations.settings import Kinds, Range, draw_seed


def test_a_range_is_drawn_uniformly_and_a_number_is_itself() -> None:
    generator, low_high = seeded(0), Range("sigma", [2, 6])
    drawn = torch.tensor([low_high.draw(generator) for _ in range(400)])
    assert drawn.min() >= 2 and drawn.max() <= 6
    assert abs(drawn.mean() - 4) < 4 * (4 / 12**0.5) / 20  # four standard errors
    assert Range("sigma", 3).draw(generator) == 3


def test_a_setting_uses_one_random_number_whatever_it_is() -> None:
    after = set()
    for setting in (Range("x", 3), Range("x", [0, 9]), Kinds("x", "a", "ab"), Kinds("x", {"a": 1, "b": 2}, "ab")):
        generator = seeded(5)
        setting.draw(generator)
        after.add(draw_seed(generator))
    assert len(after) == 1


@pytest.mark.parametrize("value", [-1, [3, 2], [1, 2, 3], [], math.nan, math.inf, [0, 11]])
def test_impossible_ranges_are_named(value: object) -> None:
    with pytest.raises(ValueError, match=r"sigma is a number from 0 to 10, or a range .*; received"):
        Range("sigma", value, most=10)  # type: ignore[arg-type]


def test_kinds_are_drawn_by_their_weights() -> None:
    kinds, generator = Kinds("noise", {"a": 3, "b": 1, "c": 0}, "abc"), seeded(1)
    assert "a" in kinds and "c" not in kinds
    counts = Counter(kinds.draw(generator) for _ in range(400))
    assert set(counts) == {"a", "b"} and abs(counts["a"] - 300) < 4 * (400 * 3 / 16) ** 0.5
    assert Kinds("noise", ["a", "b"], "abc").weights == {"a": 1, "b": 1}


def test_impossible_kinds_are_named() -> None:
    for kind in ("d", [], {"a": 1, "d": 1}):
        with pytest.raises(ValueError, match="the kinds of noise are a, b, c; received"):
            Kinds("noise", kind, "abc")
    for weights in ({"a": 0}, {"a": -1, "b": 2}, {"a": math.inf}):
        with pytest.raises(ValueError, match="weights of kinds are 0 or more"):
            Kinds("noise", weights, "abc")

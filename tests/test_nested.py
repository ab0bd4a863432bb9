"""Mappings inside mappings."""

import pytest

from implicitkit import nested
from implicitkit.nested import equal_and_different, finite, texts_in


def test_lists_are_leaves_and_what_is_not_there_is_null() -> None:
    a, b = {"data": {"patch": 4, "folders": ["x"]}, "loss": [1]}, {"data": {"patch": 4, "folders": ["x"]}, "loss": [2]}
    equal, different = equal_and_different({"a": a, "b": {**b, "ema": 0.9}})
    assert equal == {"data.patch": 4, "data.folders": ["x"]}
    assert different == {"loss": {"a": [1], "b": [2]}, "ema": {"a": None, "b": 0.9}}
    assert equal_and_different({}) == ({}, {})


def test_json_has_no_infinity() -> None:
    infinite = {"a": [1.5, float("inf")], "b": {"c": float("nan"), "d": 3}}
    assert finite(infinite) == {"a": [1.5, None], "b": {"c": None, "d": 3}}
    assert finite((1.23456, 2), 2) == [1.23, 2]


def test_texts_are_found_at_any_depth() -> None:
    assert list(texts_in({"a": [{"b": "x"}, 3, None], "c": "y"})) == ["x", "y"]


def test_what_holds_itself_or_is_shared_a_thousand_times_is_told_apart() -> None:
    circle: list[object] = []
    circle.append({"a": circle})
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        nested.check_nesting(circle)
    bomb: object = "x"
    for _ in range(50):  # 10^50 leaves, 50 objects
        bomb = [bomb] * 10
    nested.check_nesting(bomb)
    nested.check_nesting("no container")

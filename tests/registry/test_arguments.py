"""Arguments are checked against signatures and annotations."""

from __future__ import annotations

import pytest

import implicitkit as ik
from implicitkit.registry.arguments import check_arguments, parameter_names


def build(width: int = 3, scale: float | None = None) -> tuple[int, float | None]:
    return width, scale


def test_arguments_are_checked_by_their_annotations() -> None:
    assert check_arguments("encoder 'x'", build, (), {"width": 4, "scale": "1e-1"}) == {"width": 4, "scale": 0.1}
    with pytest.raises(
        ik.ArgumentError, match=r"encoder 'x', width: input should be a valid integer.*\(received 'wide'\)"
    ):
        check_arguments("encoder 'x'", build, (), {"width": "wide"})
    with pytest.raises(ik.ArgumentError, match=r"encoder 'x', width: should be a number \(received True\)"):
        check_arguments("encoder 'x'", build, (), {"width": True})


def test_names_are_those_behind_the_positional_ones() -> None:
    assert parameter_names(build) == ["width", "scale"] and parameter_names(build, 1) == ["scale"]
    assert parameter_names(lambda **anything: anything) is None

"""Options of a question: types, names, and the command line."""

from typing import Any

import pytest

import implicitkit as ik
from implicitkit.decoders.options import check_options, parse_options

KNOWN = {"share": 0.5, "count": 1, "sharp": False, "mode": "a", "free": None}


def test_defaults_and_types() -> None:
    assert check_options("it", KNOWN, {"share": 1, "count": 2.0, "free": [3]}) == {
        **KNOWN,
        "share": 1.0,
        "count": 2,
        "free": [3],
    }


@pytest.mark.parametrize(
    ("option", "value"),
    [("share", "x"), ("share", float("nan")), ("count", 1.5), ("count", True), ("sharp", 1), ("mode", 2)],
)
def test_other_types_are_refused(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"the option {option} of it is .*; received"):
        check_options("it", KNOWN, {option: value})


def test_a_command_line_is_read_as_yaml() -> None:
    assert parse_options(["a=0.5", "b=true", "c=x=y"]) == {"a": 0.5, "b": True, "c": "x=y"}
    assert parse_options(["a=1e-3"]) == {"a": 0.001}, "numbers are those of a configuration"
    with pytest.raises(ik.ConfigError, match="--option a"):
        parse_options(["a=[1, 2"])
    for pairs in (["a"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(ValueError, match="--option"):
            parse_options(pairs)

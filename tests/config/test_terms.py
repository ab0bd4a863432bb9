"""What differs between specs, defaults included."""

from __future__ import annotations

from implicitkit.config import ModelSpec, validate
from implicitkit.config.terms import Terms, _advice, compare_specs


def spec(decoder: object, channels: int = 8) -> ModelSpec:
    encoder = {"name": "edsr", "blocks": 1, "channels": channels}
    return validate(ModelSpec, {"encoder": encoder, "decoder": decoder}, "test")


def test_defaults_count_and_budgets_too() -> None:
    same = {"name": "lte", "skip": "none", "hidden": [256] * 4}
    assert compare_specs({"a": spec("liif"), "b": spec("liif")}, {}) == Terms("", {}, "")
    terms = compare_specs({"LIIF": spec("liif"), "LTE": spec(same)}, {"LIIF": {"steps": 1}, "LTE": {"steps": 2}})
    assert terms.compared == "decoder" and terms.unequal == {
        "steps": {"values": {"LIIF": 1, "LTE": 2}, "by_default": []}
    }
    wide = compare_specs({"a": spec("liif"), "b": spec("liif", channels=16)}, {})
    assert wide.compared == "encoder.channels" and wide.line() == ""


def test_advice_where_nobody_adds_anything() -> None:
    """Two ways of saying nothing are not a value to share, and no error."""
    nothing = {"decoder.skip": {"values": {"a": "none", "b": None}, "by_default": ["b"]}}
    assert _advice(nothing, 2) == "shared: {decoder: {skip: null}}"
    some = {"decoder.skip": {"values": {"a": "none", "b": "bilinear"}, "by_default": ["a"]}}
    assert _advice(some, 2) == "shared: {decoder: {skip: bilinear}}"

"""The words that error messages share."""

from __future__ import annotations

from implicitkit.errors import first_line, nearest


def test_nearest_names() -> None:
    known = {"edsr": 1, "edsr_baseline": 2, "rdn": 3}
    assert nearest("edrs", known) == ["edsr"]
    assert nearest("edsr_baselin", known, count=3) == ["edsr_baseline", "edsr"]
    assert nearest("completely different", known) == []


def test_the_first_line_of_an_error() -> None:
    assert first_line(RuntimeError("\n  one \n two")) == "one "
    assert first_line(ValueError()) == first_line(ValueError("  ")) == "ValueError"

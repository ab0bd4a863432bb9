"""The words that error messages share."""

from __future__ import annotations

import logging

import pytest

from implicitkit.errors import first_line, nearest, quiet


def test_nearest_names() -> None:
    known = {"edsr": 1, "edsr_baseline": 2, "rdn": 3}
    assert nearest("edrs", known) == ["edsr"]
    assert nearest("edsr_baselin", known, count=3) == ["edsr_baseline", "edsr"]
    assert nearest("completely different", known) == []


def test_the_first_line_of_an_error() -> None:
    assert first_line(RuntimeError("\n  one \n two")) == "one "
    assert first_line(ValueError()) == first_line(ValueError("  ")) == "ValueError"


def test_loggers_of_other_libraries_are_as_before() -> None:
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    with pytest.raises(ValueError, match="any"), quiet("huggingface_hub"):
        assert logger.level == logging.ERROR
        raise ValueError("any")
    assert logger.level == before

"""SRNO against the authors' outputs."""

import pytest

from implicitkit.decoders.galerkin.srno import SRNO
from oracles.parts import BAR, errors


def test_equals_the_authors() -> None:
    assert max(errors("srno")) < BAR


def test_heads_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width=9, heads=2"):
        SRNO(width=9, heads=2)

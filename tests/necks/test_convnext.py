"""Thera Plus's neck against the authors' features."""

import pytest

from implicitkit.necks.convnext import ConvNeXt
from implicitkit.testing import check_neck
from oracles.parts import BAR, neck_error


def test_equals_the_authors() -> None:
    assert neck_error("thera_plus") < BAR


def test_keeps_the_contract() -> None:
    check_neck({"name": "thera_plus", "blocks": [[8, 1], [12, 2]]})
    with pytest.raises(ValueError, match="blocks=\\[\\]"):
        ConvNeXt(blocks=[])

"""Thera Pro's neck against the authors' features."""

import pytest
import torch

from implicitkit.encoders.base import pad_to_multiple
from implicitkit.necks.swin import Swin
from implicitkit.testing import check_neck
from oracles.parts import BAR, neck_error


def test_equals_the_authors() -> None:
    assert neck_error("thera_pro") < BAR


def test_keeps_the_contract() -> None:
    check_neck({"name": "thera_pro", "channels": 8, "depths": [2], "heads": [2], "window": 4, "out_channels": 6})
    with pytest.raises(ValueError, match="a divisor of channels"):
        Swin(channels=9, heads=[2], depths=[1])


def test_padding_reflects() -> None:
    x = torch.rand(1, 2, 7, 6)
    expected = torch.nn.functional.pad(x, (0, 2, 0, 1), mode="reflect")
    assert torch.equal(pad_to_multiple(x, 8, repeat_border=False), expected)

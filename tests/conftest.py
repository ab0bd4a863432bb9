"""Shared fixtures."""

from __future__ import annotations

import pytest
import torch
from support import PHOTOS

import implicitkit as ik


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def photo() -> torch.Tensor:
    return ik.read_image(PHOTOS / "chelsea.png")[:, 60:124, 100:180].contiguous()

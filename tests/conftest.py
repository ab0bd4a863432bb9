"""Shared fixtures: small models, and the public-domain photographs of the repository."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import implicitkit as ik

ROOT = Path(__file__).parent.parent
PHOTOS = ROOT / "examples" / "photos"
PARITY = ROOT / "tests" / "parity"


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def photo() -> torch.Tensor:
    return ik.read_image(PHOTOS / "chelsea.png")[:, 60:124, 100:180].contiguous()


def small_model(
    channels: int = 8, blocks: int = 2, hidden: tuple[int, ...] = (16, 16), **decoder: object
) -> ik.ImplicitModel:
    """EDSR and LIIF, small enough for a test."""
    encoder = {"name": "edsr", "blocks": blocks, "channels": channels, "res_scale": 1.0}
    return ik.create_model({"encoder": encoder, "decoder": {"name": "liif", "hidden": list(hidden), **decoder}}).eval()

"""What the tests of inpainting share: a small model with random weights, a picture and a mask."""

from __future__ import annotations

import torch
from torch import Tensor

import implicitkit as ik


def small_painter(passes: int = 1) -> ik.ImplicitModel:
    """EDSR with a mask channel and a read-out, random but gentle."""
    torch.manual_seed(1)
    model = ik.create_model(
        {
            "encoder": {"name": "edsr", "blocks": 1, "channels": 8, "res_scale": 1.0, "mask_channels": 1},
            "decoder": "bilinear",
            "inputs": ["image", "mask"],
            "passes": passes,
        }
    ).eval()
    with torch.no_grad():
        model.decoder.project.weight.mul_(0.2)
    return model


def disc(height: int, width: int) -> Tensor:
    """A mask ``(1, H, W)`` that is 1 in a disc in the middle."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    return (y.square() + x.square() < 0.3).float()[None]


def picture(height: int, width: int) -> Tensor:
    """A smooth picture ``(3, H, W)`` in [0, 1]."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.stack([y, x, 1 - y * x]).contiguous()

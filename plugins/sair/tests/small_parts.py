"""Small parts and specs that several tests build models of."""

from __future__ import annotations

import torch
from torch import Tensor

import implicitkit as ik

EDSR = {"name": "edsr", "blocks": 1, "channels": 8, "res_scale": 1.0}
SEMANTIC = {"encoder": EDSR, "decoder": {"name": "sir", "reduced": 5, "hidden": [9]}, "inputs": ["image", "mask"]}
MODES = {
    "embedding": {},
    "embedding_at_point": {"semantics": "embedding_at_point"},
    "text": {"semantics": "text", "prompts": ["sky", "tree", "water"]},
    "none": {"semantics": "none"},
    "none, as text": {"semantics": "none", "prompts": ["sky", "tree", "water"]},
    "meaning alone": {"appearance": "none"},
    "meaning alone, as text": {"appearance": "none", "semantics": "text", "prompts": ["sky", "tree", "water"]},
}


class Patches(ik.Encoder):
    """Each patch of pixels, mapped linearly: the smallest encoder that has a stride, pads, and sees a mask."""

    def __init__(self, channels: int = 6, patch: int = 4, mask_channels: int = 1) -> None:
        super().__init__()
        self.out_channels, self.stride, self.size_multiple = channels, patch, patch
        self.radius, self.mask_channels = patch - 1, mask_channels
        self.embed = torch.nn.Conv2d(3 + mask_channels, channels, patch, stride=patch)

    def extract(self, x: Tensor) -> Tensor:
        return self.embed(x)

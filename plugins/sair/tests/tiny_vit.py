"""Vision transformers of timm with a few thousand weights, as specs of the encoder ``dense``."""

from __future__ import annotations

from typing import Any

TINY: dict[str, Any] = {"embed_dim": 48, "depth": 3, "num_heads": 3, "img_size": 32, "patch_size": 8}
VIT: dict[str, Any] = {"name": "dense", "model": "vit_tiny_patch16_224", "options": TINY}
DINO: dict[str, Any] = {"name": "dense", "model": "vit_small_patch14_dinov2", "options": TINY}
SIR = {"name": "sir", "reduced": 4, "hidden": [8]}

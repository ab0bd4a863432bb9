"""Every registered encoder and decoder at a size small enough to be tried in a moment.

A name that is registered and not listed here fails the tests: nothing is left out silently.
"""

from __future__ import annotations

from typing import Any

ENCODERS: dict[str, dict[str, Any]] = {
    "edsr": {"name": "edsr", "blocks": 1, "channels": 8},
    "edsr_baseline": {"name": "edsr_baseline", "blocks": 1, "channels": 8},
    "rdn": {"name": "rdn", "depth": 2, "convs": 2, "growth": 4, "channels": 8},
    "rcan": {"name": "rcan", "groups": 1, "blocks": 1, "channels": 8, "reduction": 4},
    "unet": {"name": "unet", "widths": [8, 12], "blocks": [1, 1], "attention": 1, "heads": 2},
    "span": {"name": "span", "channels": 8, "blocks": 1},
    "gb_lsr_patches": {"name": "gb_lsr_patches", "patch": 2, "channels": 8},
    "swinir": {"name": "swinir", "channels": 8, "depths": [2], "heads": [2], "window": 4, "out_channels": 8},
    "timm:convnext_atto": {
        "name": "timm:convnext_atto",
        "out_channels": 8,
        "out_indices": [0, 1],
        "options": {"dims": [8, 12, 16, 20], "depths": [1, 1, 1, 1]},
    },
    "timm:resnet10t": {"name": "timm:resnet10t", "out_channels": 8, "out_indices": [0, 2]},
    "timm:vit_tiny_patch16_224": {
        "name": "timm:vit_tiny_patch16_224",
        "out_channels": 8,
        "out_indices": [0, 1],
        "options": {"depth": 2, "embed_dim": 16, "num_heads": 2},
    },
    "timm:swin_tiny_patch4_window7_224": {
        "name": "timm:swin_tiny_patch4_window7_224",
        "out_channels": 8,
        "out_indices": [0, 1],
        "options": {"embed_dim": 8, "depths": [2, 2], "num_heads": [1, 2]},
    },
}

DECODERS: dict[str, dict[str, Any]] = {
    "liif": {"name": "liif", "hidden": [8, 8]},
    "lte": {"name": "lte", "hidden": [8, 8], "basis": 8},
    "lte_plus": {"name": "lte_plus", "hidden": [8, 8], "basis": 8},
    "metasr": {"name": "metasr", "hidden": [8]},
    "nearest": {"name": "nearest"},
    "bilinear": {"name": "bilinear"},
    "lmf": {"name": "lmf", "hidden": 4, "depth": 2, "latent_hidden": [8]},
    "thera": {"name": "thera", "components": 4},
    "ope": {"name": "ope", "max_frequency": 1},
    "gb_lsr": {"name": "gb_lsr", "order": 3},
    "gb_lsr_patches": {"name": "gb_lsr_patches", "order": 3},
    "linf": {"name": "linf", "width": 8, "depth": 1, "flow_layers": 2},
    "gaussian": {"name": "gaussian", "count": 2, "hidden": [8], "sigma_max": 0.3},
    "lm_liif": {"name": "lm_liif", "hidden": 4, "depth": 2, "latent_hidden": [8]},
    "srno": {"name": "srno", "width": 8, "heads": 2},
    "hiif": {"name": "hiif", "width": 8, "heads": 2},
}

"""Every registered encoder, decoder and neck at a size small enough to be tried in a moment.

A name that is registered and not listed here fails the tests: nothing is left out silently.
"""

from __future__ import annotations

from typing import Any

import implicitkit as ik

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
    "linf_patch": {"name": "linf_patch", "width": 8, "depth": 1, "flow_layers": 2},
    "clit": {"name": "clit", "width": 8, "heads": 2, "radius": 1, "hidden": [8], "stages": 2, "scale_base": 1.4},
    "liwt": {"name": "liwt", "heads": 2, "hidden": [8], "waves": 8},
    "ciaosr": {"name": "ciaosr", "hidden": [8]},
    "gaussian": {"name": "gaussian", "count": 2, "hidden": [8], "sigma_max": 0.3},
    "gsasr": {
        "name": "gsasr",
        "channels": 8,
        "heads": 2,
        "window": 4,
        "seeds": 4,
        "cross_layers": 2,
        "among_blocks": 1,
        "among_layers": 2,
    },
    "lm_liif": {"name": "lm_liif", "hidden": 4, "depth": 2, "latent_hidden": [8]},
    "lm_lte": {"name": "lm_lte", "hidden": 8, "depth": 2, "latent_hidden": [8], "basis": 8},
    "sinc_lte": {"name": "sinc_lte", "hidden": [8, 8], "basis": 8},
    "srno": {"name": "srno", "width": 8, "heads": 2},
    "hiif": {"name": "hiif", "width": 8, "heads": 2},
}

NECKS: dict[str, dict[str, Any]] = {
    "thera_plus": {"name": "thera_plus", "blocks": [[8, 1], [12, 1]]},
    "thera_pro": {
        "name": "thera_pro",
        "channels": 8,
        "depths": [2, 1],
        "heads": [2, 2],
        "window": 4,
        "out_channels": 8,
    },
}

WITHOUT_GRADIENT = {
    (
        "span",
        "ciaosr",
    ): "SPAN's features start in the hundreds, where CiaoSR's softmax over their products is a maximum",
}
"""Pairs that render, and cannot be trained from the start."""


def odd_size(model: ik.ImplicitModel) -> tuple[int, int]:
    """A size that no padding divides, of at least three cells each way: of fewer, a pooled map is a single cell, and
    attention over it has no gradient.
    """
    side = 2 * model.encoder.stride
    return max(19, side + 3), max(26, side + 10)

"""CLIPs of a few thousand weights (and a vocabulary, which is as large as it is), built by open_clip."""

from __future__ import annotations

from typing import Any

import open_clip
import torch

TEXT = {"layers": 2, "width": 16, "heads": 2}
VIT: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"layers": 3, "width": 32, "head_width": 8, "patch_size": 8, "image_size": [32, 32]},
    "text_cfg": TEXT,
}
RESNET: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "head_width": 32, "patch_size": None, "image_size": 64},
    "text_cfg": TEXT,
}


def build(config: dict[str, Any], quick_gelu: bool = False, image_size: list[int] | None = None) -> open_clip.CLIP:
    """open_clip's own whole model, in eval mode: always the same, and with no weight left at zero."""
    vision = {**config["vision_cfg"], **({"image_size": image_size} if image_size else {})}
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        model = open_clip.CLIP(config["embed_dim"], vision, dict(config["text_cfg"]), quick_gelu=quick_gelu).eval()
        for name, value in (*model.named_parameters(), *model.named_buffers()):
            if name.endswith(("bias", "running_mean", "text_projection", "bn3.weight")):
                value.copy_(0.3 * torch.randn(value.shape))
    return model

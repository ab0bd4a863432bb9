"""Decoders of the kinds that the kernels know, small."""

from __future__ import annotations

import torch

import implicitkit as ik

LIIFS = {
    "paper": {"hidden": [24, 20]},
    "one layer behind": {"hidden": [16]},
    "nearest": {"hidden": [24, 20], "local_ensemble": False},
    "no cell, no unfolding": {"hidden": [20], "cell_decode": False, "feat_unfold": False},
    "skip": {"hidden": [33, 8], "skip": "bilinear"},
    "seven values": {"hidden": [24], "out_channels": 7},
}
LTES = {
    "paper": {"hidden": [24, 20], "basis": 40},
    "linear": {"hidden": [], "basis": 16},
    "nearest, no skip": {"hidden": [24], "local_ensemble": False, "skip": "none"},
}
CASES = [
    *(("liif", name) for name in LIIFS),
    *(("lte", name) for name in LTES),
    ("lte_plus", "paper"),
]


def made(decoder: str, case: str, device: torch.device | str = "cpu") -> ik.ImplicitModel:
    torch.manual_seed(1)
    settings = (LIIFS if decoder == "liif" else LTES)[case]
    encoder = ik.create_encoder("edsr", blocks=1, channels=8, res_scale=1.0)
    return ik.ImplicitModel(encoder, ik.create_decoder(decoder, in_channels=8, **settings)).eval().to(device)


def everywhere(model: ik.ImplicitModel, pictures: torch.Tensor) -> torch.Tensor:
    """What a field of two pictures says on a grid, in a window and at points, some of them outside."""
    coords = torch.rand(2, 37, 2, generator=torch.Generator().manual_seed(3)).to(pictures.device) * 2.2 - 1.1
    field = model.encode(pictures)
    whole, box = field.render((9, 11), clamp=False), field.render((6, 5), (-0.3, 0.1, 0.9, 1.0), clamp=False)
    return torch.cat([whole.flatten(2), box.flatten(2), field(coords, 0.11).transpose(1, 2)], dim=-1)

"""Small models: EDSR with LIIF, one of every kind that the kernels know, and one that reads another's field."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import implicitkit as ik
from implicitkit.coordinates import cell_size, grid

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
LMFS = {
    "paper": {"latent_hidden": [24]},
    "20 wide, 3 deep": {"hidden": 20, "depth": 3, "latent_hidden": [24]},
    "one layer": {"depth": 1, "latent_hidden": []},
    "nearest, no cell": {"local_ensemble": False, "cell_decode": False, "latent_hidden": [24]},
}
CASES = [
    *(("liif", name) for name in LIIFS),
    *(("lte", name) for name in LTES),
    ("lte_plus", "paper"),
]
MODULATED = [*(("lmf", name) for name in LMFS), ("lm_liif", "paper")]
SETTINGS = {"liif": LIIFS, "lte": LTES, "lte_plus": LTES, "lmf": LMFS, "lm_liif": LMFS}


def small_model(
    channels: int = 8, blocks: int = 2, hidden: tuple[int, ...] = (16, 16), **decoder: object
) -> ik.ImplicitModel:
    """EDSR and LIIF, small enough for a test."""
    encoder = {"name": "edsr", "blocks": blocks, "channels": channels, "res_scale": 1.0}
    return ik.create_model({"encoder": encoder, "decoder": {"name": "liif", "hidden": list(hidden), **decoder}}).eval()


def made(decoder: str, case: str, device: torch.device | str = "cpu") -> ik.ImplicitModel:
    torch.manual_seed(1)
    settings = SETTINGS[decoder][case]
    encoder = ik.create_encoder("edsr", blocks=1, channels=8, res_scale=1.0)
    return ik.ImplicitModel(encoder, ik.create_decoder(decoder, in_channels=8, **settings)).eval().to(device)


def everywhere(model: ik.ImplicitModel, pictures: torch.Tensor) -> torch.Tensor:
    """What a field of two pictures says on a grid, in a window and at points, some of them outside."""
    coords = torch.rand(2, 37, 2, generator=torch.Generator().manual_seed(3)).to(pictures.device) * 2.2 - 1.1
    field = model.encode(pictures)
    whole, box = field.render((9, 11), clamp=False), field.render((6, 5), (-0.3, 0.1, 0.9, 1.0), clamp=False)
    return torch.cat([whole.flatten(2), box.flatten(2), field(coords, 0.11).transpose(1, 2)], dim=-1)


class Strided(ik.Encoder):
    """Stride 2 and windows of 4: an encoder that must pad, as SwinIR and timm's do."""

    def __init__(self) -> None:
        super().__init__()
        self.stride, self.size_multiple, self.out_channels, self.radius = 2, 4, 6, 3
        self.layers = nn.Sequential(nn.Conv2d(3, 6, 2, stride=2), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1))

    def extract(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Semantic(ik.LocalEnsembleDecoder):
    """A member of the family that reads another field at the query."""

    conditions = ("semantic",)
    uses_cell = False

    def __init__(self) -> None:
        super().__init__()
        self.in_channels = 8
        self.mix = nn.Linear(8 + 2 + 4, 3)

    def prepare(self, features, inputs, conditions):
        return self.lay_out(features, features.map)

    def at_point(self, cell, conditions):
        return conditions["semantic"]

    def local(self, rows, offset, cell, point):
        return self.mix(torch.cat([rows, offset, point], dim=-1))


def conditioned_model() -> ik.ImplicitModel:
    embedding = ik.create_decoder("liif", in_channels=6, hidden=[5], out_channels=4, cell_decode=False)
    embedding.output = "embedding"
    semantic = ik.ImplicitModel(Strided(), embedding)
    appearance = ik.create_encoder("edsr", blocks=1, channels=8)
    return ik.ImplicitModel(appearance, Semantic(), {"semantic": semantic}).eval()


def assert_all_ways_agree(model: ik.ImplicitModel, tolerance: float) -> None:
    """A grid, its points, tiles, small blocks, one picture of a batch, and a cell for each point: one answer."""
    pictures, out, exact = torch.rand(2, 3, 13, 17), (20, 31), {"atol": tolerance, "rtol": 0.0}
    field = model.encode(pictures)
    rendered = field.render(out, clamp=False)
    at_points = field(grid(out), cell_size(out)).transpose(1, 2).unflatten(2, out)
    torch.testing.assert_close(rendered, at_points, **exact)
    torch.testing.assert_close(model.encode(pictures, tile=6).render(out, clamp=False), rendered, **exact)
    torch.testing.assert_close(model.encode(pictures[1]).render(out, clamp=False, block=7), rendered[1], **exact)
    points = grid(out)
    torch.testing.assert_close(field(points, 0.1), field(points, torch.full((2, len(points), 2), 0.1)), **exact)

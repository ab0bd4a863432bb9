"""A model that pads and reads another model's field."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import implicitkit as ik


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

"""What the tests about meaning share: small semantic models with weights that say what the answer must be."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

import implicitkit as ik
from implicitkit_sair.segmentation.label_maps import write_label_map


class Colours(ik.Encoder):
    """Three features per 4x4 cell: its mean colour, so that a class's embedding is simply its colour."""

    out_channels, stride, size_multiple, radius = 3, 4, 4, 3
    mean, std = 0.0, 1.0

    def __init__(self, mask_channels: int = 0) -> None:
        super().__init__()
        self.mask_channels = mask_channels

    def extract(self, x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(x[:, :3], 4)


def semantic_model(mask: bool = False) -> ik.ImplicitModel:
    """Mean colours, interpolated."""
    inputs = ("image", "mask") if mask else ("image",)
    return ik.ImplicitModel(
        Colours(int(mask)), ik.create_decoder("bilinear", in_channels=3, project=False), inputs=inputs
    )


def saved_semantics() -> ik.ImplicitModel:
    """EDSR features, interpolated: a semantic model that a file can hold."""
    torch.manual_seed(3)
    encoder = {"name": "edsr", "blocks": 1, "channels": 6, "res_scale": 1.0, "mask_channels": 1}
    spec = {"encoder": encoder, "decoder": {"name": "bilinear", "project": False}, "inputs": ["image", "mask"]}
    return ik.create_model(spec).eval()


RED, GREEN, BLUE = torch.eye(3)
NAMES = ["red", "green", "blue"]
COLOURS = torch.stack([RED, GREEN, BLUE])


def flag(height: int = 16, width: int = 24) -> Tensor:
    """Three upright stripes, red, green and blue, a third of the width each."""
    stripes = torch.arange(width) * 3 // width
    return torch.eye(3)[:, stripes][:, None].expand(3, height, width).contiguous()


def make_folder(root: Path, *, validation: bool = False) -> Path:
    """ADE20K's layout: two pictures of stripes; "green" is nowhere labelled in the second."""
    for room in ("images", "annotations"):
        (root / room / ("validation" if validation else "")).mkdir(parents=True)
    table = ["Idx Ratio Train Val Stuff Name", "1 .5 1 1 1 red,crimson", "2 .3 1 1 0 green", "3 .2 1 1 0 blue", ""]
    table = "\n".join(table).replace(" ", "\t")
    (root / "objectInfo150.txt").write_text(table)
    for name, picture in (("a", flag()), ("b", flag(24, 48))):
        inside = "validation" if validation else ""
        ik.write_image(root / "images" / inside / f"{name}.png", picture)
        truth = picture.argmax(0)
        write_label_map(
            root / "annotations" / inside / f"{name}.png", torch.where(truth == 1, -1, truth) if name == "b" else truth
        )
    return root

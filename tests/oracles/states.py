"""Random state dicts of the authors' full-size checkpoints, by name."""

import json

import torch
from torch import Tensor

from oracles import PARITY

SHAPES = {
    name: entry["tensors"] for name, entry in json.loads((PARITY / "newer_state_dict_shapes.json").read_text()).items()
}


def random_state(name: str) -> dict[str, Tensor]:
    """Tensors of the shapes of a checkpoint, each with values of its own."""
    generator = torch.Generator().manual_seed(0)
    return {key: torch.rand(shape, generator=generator) for key, shape in SHAPES[name].items()}

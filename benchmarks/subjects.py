"""What is measured: models with weights that mean something for the test, a photograph, and counts of what they do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from implicitkit.create import create_model, load_model
from implicitkit.decoders.liif import LIIF
from implicitkit.decoders.lte import LTE
from implicitkit.evaluation.costs import count_macs
from implicitkit.field.field import Field
from implicitkit.files import PHOTO
from implicitkit.images.io import read_image
from implicitkit.model import ImplicitModel
from implicitkit.registry.kinds import models

SPREAD = 0.5  # of the values in [-1, 1] that a photograph has, roughly


def picture(side: int, width: int | None = None) -> Tensor:
    """The bundled photograph at ``(3, side, width or side)``."""
    return F.interpolate(
        read_image(PHOTO)[None], size=(side, width or side), mode="bilinear", align_corners=False, antialias=True
    )[0]


def subject(model: str | Mapping[str, Any]) -> ImplicitModel:
    """The model to measure: with its own weights where it has any.

    Otherwise the weights are random, and the last layer is scaled so that the values spread over [0, 1] as those of a
    photograph do; a network that hardly says anything would make every difference look small.
    """
    torch.manual_seed(0)
    if isinstance(model, str):
        known = not Path(model).is_file() and model in models
        if not known or models.find(model)[0].metadata.get("pretrained"):
            return load_model(model).eval()
    network = create_model(model).eval()
    if isinstance(network.decoder, (LIIF, LTE)):
        spread_out(network)
    return network


@torch.no_grad()
def spread_out(model: ImplicitModel) -> None:
    """Scale and shift the last layer of LIIF or LTE: mean 0 and standard deviation 0.5 in the decoder's [-1, 1]."""
    decoder = model.decoder
    layers = decoder.rest if isinstance(decoder, LIIF) else decoder.mlp
    last = layers[-1] if isinstance(layers, nn.Sequential) and len(layers) else decoder.first
    assert isinstance(last, nn.Linear) and last.bias is not None
    shown = picture(64)
    values = model.encode(shown).render((128, 128), clamp=False) * 2 - 1
    if decoder.skip == "bilinear":
        values -= F.interpolate(shown[None], size=(128, 128), mode="bilinear", align_corners=False)[0] * 2 - 1
    factor = SPREAD / values.std()
    last.weight.mul_(factor)
    last.bias.copy_((last.bias - values.mean()) * factor)


def decoder_macs(field: Field, points: int = 64) -> float:
    """Multiply-accumulates of the decoder per output pixel: those of its matrix products, as they are run."""
    coords = torch.rand(2 * points, 2, device=field.device) * 2 - 1
    # what another pixel costs: some decoders run a network on every cell, once for all pixels
    return (count_macs(lambda: field(coords, 0.01)) - count_macs(lambda: field(coords[:points], 0.01))) / points


def traffic(model: ImplicitModel, *, baseline: bool, precision: str = "float32") -> float:
    """Bytes per output pixel that have to pass through main memory, by count.

    The authors' way holds 30,000 queries at a time, more than any cache: what one step writes, the next reads back. The
    library's way reads each neighbour's row of the latent and writes the result; the rest stays in the cache.
    """
    decoder = model.decoder
    assert isinstance(decoder, (LIIF, LTE))
    corners = 4 if decoder.local_ensemble else 1
    layers = [decoder.first, *decoder.rest] if isinstance(decoder, LIIF) else [*decoder.mlp]
    widths = [layer.out_features for layer in layers if isinstance(layer, nn.Linear)]
    result = 4 * decoder.out_channels
    if not baseline:
        row = 4 * 2 * decoder.basis if isinstance(decoder, LTE) else widths[0] * (4 if precision == "float32" else 2)
        return corners * row + result  # LTE's waves stay float32
    if isinstance(decoder, LIIF):
        made = 2 * decoder.read + decoder.first.in_features  # fetched, and once more in the MLP's input
    else:
        made = 2 * (2 * decoder.basis) + 4 * decoder.basis  # fetched; products, phases, cosines and sines
    made += 2 * sum(widths[:-1]) + widths[-1]  # a ReLU in place reads and writes as well
    return 4 * 2 * corners * made + result

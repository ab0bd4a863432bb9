"""Slow, literal versions of the formulas, written from the papers: what the fast ones are compared with."""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from implicitkit.decoders.liif import LIIF


def unfold(features: Tensor) -> Tensor:
    """3^d neighbourhoods ``(B, D * 3^d, *S)``, zero padding, channel-major, taps in row-major order."""
    ndim = features.ndim - 2
    padded = F.pad(features, (1, 1) * ndim)
    size = features.shape[2:]
    taps = []
    for shift in itertools.product(range(3), repeat=ndim):
        window = (slice(None), slice(None), *(slice(s, s + n) for s, n in zip(shift, size, strict=True)))
        taps.append(padded[window])
    return torch.stack(taps, dim=2).flatten(1, 2)


def mlp(decoder: LIIF, x: Tensor) -> Tensor:
    """The decoder's layers on the full, concatenated input."""
    return decoder.rest(F.linear(x, decoder.first.weight, decoder.first.bias))


def liif(decoder: LIIF, features: Tensor, coords: Tensor, cell: Tensor) -> Tensor:
    """LIIF's equation 4, one point and one neighbour at a time; ``features`` (B, D, *S), ``coords``/``cell`` (B, N, d)."""
    if decoder.feat_unfold:
        features = unfold(features)
    batch, _, *size = features.shape
    ndim = len(size)
    out = torch.zeros(batch, coords.shape[1], decoder.out_channels)
    corners = list(itertools.product((-1, 1), repeat=ndim)) if decoder.local_ensemble else [(0,) * ndim]
    for b, i in itertools.product(range(batch), range(coords.shape[1])):
        predictions, areas = [], []
        for corner in corners:
            index, offset = [], []
            for k, n in enumerate(size):
                x = coords[b, i, k]
                shifted = x + (corner[k] / n + 1e-6) if decoder.local_ensemble else x
                shifted = shifted.clamp(-1 + 1e-6, 1 - 1e-6)
                position = float(((shifted + 1) * n - 1) / 2)
                cell_index = min(max(round(position), 0), n - 1)  # Python rounds half to even too
                index.append(cell_index)
                centre = torch.tensor(-1 + (2 * cell_index + 1) / n, dtype=torch.float32)
                offset.append(float((x - centre) * n))
            parts = [features[(b, slice(None), *index)], torch.tensor(offset)]
            if decoder.uses_cell:
                parts.append(cell[b, i] * torch.tensor(size, dtype=torch.float32))
            predictions.append(mlp(decoder, torch.cat(parts)))
            areas.append(abs(math.prod(offset)) + 1e-9)
        if not decoder.local_ensemble:
            out[b, i] = predictions[0]
            continue
        opposite = areas[::-1]
        out[b, i] = sum(p * (a / sum(areas)) for p, a in zip(predictions, opposite, strict=True))
    return out

"""LIIF and LTE evaluated as their authors do, plainly: what the fast way is measured against, and an oracle for it.

The 3x3 neighbourhoods are unfolded, the features of each of the four nearest cells are fetched with ``grid_sample``,
the whole MLP runs on every one of them, and a picture is rendered as one list of points in chunks of 30,000. Nothing
here shares code with the decoders, only their weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from implicitkit.decoders.liif import LIIF
from implicitkit.decoders.lte import LTE
from implicitkit.errors import UserError
from implicitkit.model import ImplicitModel

CHUNK = 30_000  # queries at a time, as in both repositories' test scripts


class Baseline(nn.Module):
    """A model's own encoder, and its decoder's weights used in the authors' way (Chen et al., CVPR 2021; Lee and Jin,
    CVPR 2022).

    Raises:
        UserError: the decoder is neither LIIF nor LTE in two dimensions.
    """

    def __init__(self, model: ImplicitModel) -> None:
        super().__init__()
        decoder = model.decoder
        if not isinstance(decoder, (LIIF, LTE)) or decoder.ndim != 2:
            raise UserError(
                f"the baseline is written for liif and lte on pictures; received {type(decoder).__name__}, "
                f"{decoder.ndim}-dimensional"
            )
        self.model, self.decoder = model, decoder

    def forward(self, image: Tensor, coords: Tensor, cell: Tensor) -> Tensor:
        """Values ``(B, N, out)`` in [0, 1] of pictures ``(B, C, H, W)`` at ``coords`` and ``cell`` ``(B, N, 2)``."""
        return self.at(self.maps(image), image * 2 - 1, coords, cell) / 2 + 0.5

    @torch.no_grad()
    def render(self, image: Tensor, size: Sequence[int]) -> Tensor:
        """The picture ``(B, C, H, W)`` at ``size``: ``(B, out, *size)`` in [0, 1], not clamped."""
        return self.decode(self.maps(image), image, size)

    @torch.no_grad()
    def decode(self, maps: list[Tensor], image: Tensor, size: Sequence[int]) -> Tensor:
        """What :meth:`render` does once the encoder has run."""
        shown = image * 2 - 1
        coords = pixel_coords(size, image.device).reshape(1, -1, 2).expand(len(image), -1, -1)
        step = torch.tensor([2 / n for n in size], device=image.device)
        step = self.decoder.default_cell(step, tuple(image.shape[2:]))
        parts = []
        for start in range(0, coords.shape[1], CHUNK):
            part = coords[:, start : start + CHUNK]
            parts.append(self.at(maps, shown, part, step.expand_as(part)))
        values = torch.cat(parts, dim=1) / 2 + 0.5
        return values.permute(0, 2, 1).reshape(len(image), -1, *size)

    def maps(self, image: Tensor) -> list[Tensor]:
        """What is made once per picture: LIIF's unfolded features, or LTE's amplitudes and frequencies."""
        features: Tensor = self.model.encoder(image).map.contiguous()  # laid out as theirs
        if isinstance(self.decoder, LTE):
            return [self.decoder.amplitude(features), self.decoder.frequency(features)]
        if not self.decoder.feat_unfold:
            return [features]
        batch, channels, height, width = features.shape
        return [F.unfold(features, 3, padding=1).view(batch, channels * 9, height, width)]

    def at(self, maps: list[Tensor], picture: Tensor, coords: Tensor, cell: Tensor) -> Tensor:
        """The local ensemble at ``coords`` ``(B, N, 2)``: raw values ``(B, N, out)`` in the authors' [-1, 1]."""
        decoder, (height, width) = self.decoder, maps[0].shape[2:]
        signs = (-1, 1) if decoder.local_ensemble else (0,)
        epsilon = 1e-6 if decoder.local_ensemble else 0.0
        centres = pixel_coords((height, width), coords.device).permute(2, 0, 1).expand(len(coords), -1, -1, -1)
        predictions, areas = [], []
        for sign_y in signs:
            for sign_x in signs:
                near = coords.clone()
                near[..., 0] += sign_y / height + epsilon
                near[..., 1] += sign_x / width + epsilon
                near.clamp_(-1 + 1e-6, 1 - 1e-6)
                offset = coords - fetch(centres, near)
                offset[..., 0] *= height
                offset[..., 1] *= width
                size = cell.clone()
                size[..., 0] *= height
                size[..., 1] *= width
                cells = [fetch(map, near) for map in maps]
                predictions.append(self.mlp(cells, offset, size))
                areas.append((offset[..., 0] * offset[..., 1]).abs() + 1e-9)
        if decoder.local_ensemble:
            total = torch.stack(areas).sum(0)
            predictions = [p * (a / total)[..., None] for p, a in zip(predictions, reversed(areas), strict=True)]
        values = torch.stack(predictions).sum(0)
        if decoder.skip == "bilinear":
            values = values + fetch(picture, coords, mode="bilinear", padding_mode="border")
        return values

    def mlp(self, cells: list[Tensor], offset: Tensor, size: Tensor) -> Tensor:
        """One cell's prediction for every query, from its maps' values ``(B, N, D)``."""
        if isinstance(self.decoder, LTE):
            amplitude, frequency = cells
            return self._lte(amplitude, frequency, offset, size)
        parts = [*cells, offset, size] if self.decoder.uses_cell else [*cells, offset]
        values: Tensor = nn.Sequential(self.decoder.first, *self.decoder.rest)(torch.cat(parts, dim=-1))
        return values

    def _lte(self, amplitude: Tensor, frequency: Tensor, offset: Tensor, size: Tensor) -> Tensor:
        assert isinstance(self.decoder, LTE) and self.decoder.phase is not None
        if self.decoder.pairs == "consecutive":
            pairs = torch.stack(torch.split(frequency, 2, dim=-1), dim=-1)  # (B, N, 2, basis / 2)
        else:
            pairs = torch.stack(torch.chunk(frequency, 2, dim=-1), dim=-2)
        turns = (pairs * offset[..., None]).sum(-2) + self.decoder.phase(size)
        waves = torch.cat([torch.cos(torch.pi * turns), torch.sin(torch.pi * turns)], dim=-1)
        values: Tensor = self.decoder.mlp(amplitude * waves)
        return values


def pixel_coords(size: Sequence[int], device: torch.device) -> Tensor:
    """Pixel centres ``(H, W, 2)`` in [-1, 1], ``(y, x)``, by the authors' formula ``lo + r + 2 r i``, ``r = 1/n``."""
    axes = [-1 + 1 / n + 2 / n * torch.arange(n, device=device).float() for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def fetch(map: Tensor, at: Tensor, mode: str = "nearest", padding_mode: str = "zeros") -> Tensor:
    """The map's ``(B, C, H, W)`` values ``(B, N, C)`` at points ``(B, N, 2)``."""
    grid = at.flip(-1)[:, None]
    return F.grid_sample(map, grid, mode=mode, padding_mode=padding_mode, align_corners=False)[:, :, 0].transpose(1, 2)

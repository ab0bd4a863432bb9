"""SIR, the semantic implicit representation (Zhang et al., ECCV 2024): completes a semantic map, at any coordinate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from implicitkit import Features, LocalEnsembleDecoder
from implicitkit.coordinates import mirrored
from implicitkit.decoders import LIIF, Condition, Inputs, Latent, Rows, read_linear
from implicitkit.kernels import register_way, sums
from implicitkit_sair.semantic.area import area_means

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class SIR(LocalEnsembleDecoder):
    """LIIF on a semantic map, between two projections, with the mask as one more feature.

    ``e_p = expand(sum_q w_q f([reduce(z_q), m_q], p - x_q))``: ``reduce`` takes the features to a few,
    ``m_q`` is the share of cell ``q`` that is missing (the mean of its pixels: at 16 pixels a cell, "any is missing"
    would be true nearly everywhere), ``f`` is LIIF's network with its 3x3 neighbourhood and without a cell size, and
    ``expand`` takes what is blended back to an embedding. Both projections act on one cell, or one point, alone, so
    that the result is a function of the point; a mask that the model is not given counts as zeros.

    Args:
        in_channels: semantic features per cell.
        out_channels: values per point (default: ``in_channels``, the space that the features live in).
        reduced: features per cell after the first projection, and values before the last.
        hidden: widths of the hidden layers.
        residual: ``"bilinear"`` adds the features interpolated linearly; the network then starts as nothing, so that
            training begins at the interpolation. The paper has ``"none"``.
        global_token: also tell the network what the whole picture is, for holes wider than the neighbourhood:
            ``features.pooled`` ``(B, in_channels)``, if the encoder returns features with such an attribute (CLIP's
            pooled embedding), else the mean of the cells, each weighted by its known share. A picture encoded in tiles
            has no such mean, and is refused.
        local_ensemble: blend the four nearest cells (else: the nearest one alone).
        feat_unfold: read the 3x3 neighbourhood of each cell (else: the cell alone).
        ndim: 1, 2 or 3; the same network for signals and volumes.

    Raises:
        ValueError: a width is not positive, or a residual is asked for between spaces of different widths.
    """

    uses_cell = False
    output = "embedding"

    def __init__(
        self,
        in_channels: int = 512,
        out_channels: int | None = None,
        reduced: int = 64,
        hidden: Sequence[int] = (256, 256, 256, 256),
        residual: Literal["none", "bilinear"] = "none",
        global_token: bool = False,
        local_ensemble: bool = True,
        feat_unfold: bool = True,
        ndim: int = 2,
    ) -> None:
        super().__init__()
        out_channels = in_channels if out_channels is None else out_channels
        if residual not in ("none", "bilinear"):
            raise ValueError(f"residual is 'none' or 'bilinear'; received {residual!r}")
        if min(in_channels, out_channels, reduced, *hidden) < 1:
            raise ValueError(
                f"sir takes positive widths; received in_channels={in_channels}, out_channels={out_channels}, "
                f"reduced={reduced}, hidden={list(hidden)}"
            )
        if residual == "bilinear" and in_channels != out_channels:
            raise ValueError(
                f"the residual adds {in_channels} features to {out_channels} values per point; set "
                f"out_channels={in_channels} or residual='none'"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.residual, self.global_token, self.local_ensemble = residual, global_token, local_ensemble
        if ndim not in CONVOLUTIONS:
            raise ValueError(f"sir takes ndim 1, 2 or 3; received {ndim}")
        self.ndim = ndim
        self.reduce = CONVOLUTIONS[ndim](in_channels, reduced, 1)
        self.complete = LIIF(reduced + 1, reduced, hidden, local_ensemble, feat_unfold, cell_decode=False, ndim=ndim)
        self.expand = nn.Linear(reduced, out_channels)
        self.reach = None if global_token else self.complete.reach  # the token is of the whole picture
        if global_token:
            self.overview = nn.Linear(reduced, self.complete.first.out_features, bias=False)
        if residual == "bilinear":
            nn.init.zeros_(self.expand.weight)
            nn.init.zeros_(self.expand.bias)

    def prepare(self, features: Features, inputs: Inputs, conditions: Mapping[str, Condition]) -> Latent:
        missing = missing_share(features, inputs)
        masked = torch.cat([self.reduce(features.map), missing], dim=1)
        latent = self.complete.prepare(replace(features, map=masked), inputs, {})
        rows, extra = latent.features.rows, None
        if self.global_token:  # one more input of the MLP's first layer, the same for every cell
            whole = _whole_picture(features, missing)
            token = self.reduce(whole.reshape(*whole.shape, *[1] * self.ndim)).flatten(1)
            rows = rows + self.overview(token)[:, None]
        if self.residual == "bilinear":
            extra = Rows.of(features.map, features.origin, features.grid)
        return replace(latent, features=replace(latent.features, rows=rows), extra=extra)

    def local(self, rows: Tensor, offset: Tensor, cell: Tensor | None, point: Tensor | None) -> Tensor:
        return self.complete.local(rows, offset, cell, point)

    def finish(self, latent: Latent, per_axis: Sequence[Tensor], blended: Tensor) -> Tensor:
        values: Tensor = self.expand(blended)  # after blending: it is linear, and the weights sum to one
        if latent.extra is None:
            return values
        return values + read_linear(latent.extra, latent.features.grid, per_axis)


register_way(SIR, lambda sir: sums(sir.complete))


def missing_share(features: Features, inputs: Inputs) -> Tensor:
    """How much of each cell is missing, ``(B, 1, *cells)`` in [0, 1]: the mean of the mask over the cell's area, which
    need not be whole pixels.

    Where the encoder has padded the picture with its mirror image, the mask is mirrored as well.
    """
    cells = features.map.shape[2:]
    if inputs.mask is None:
        return inputs.picture.new_zeros(len(features.map), 1, *cells)
    mask = inputs.mask
    for axis, (count, extent, grid) in enumerate(zip(cells, features.extent, features.grid, strict=True), start=2):
        n = mask.shape[axis]
        mask = mask.index_select(axis, mirrored(torch.arange(count * extent // grid, device=mask.device), n))
    return area_means(mask, cells)


def _whole_picture(features: Features, missing: Tensor) -> Tensor:
    """The embedding ``(B, C)`` of the whole picture: the encoder's own, or the mean of what is known."""
    if tuple(features.map.shape[2:]) != tuple(features.grid):
        raise ValueError(
            "global_token looks at the whole picture, so it cannot be encoded in tiles; encode without tile="
        )
    pooled: Tensor | None = getattr(features, "pooled", None)
    if pooled is not None:
        return pooled
    known = 1 - missing
    return (features.map * known).flatten(2).sum(2) / known.flatten(2).sum(2).clamp(min=1e-6)

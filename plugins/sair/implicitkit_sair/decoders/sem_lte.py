"""LTE (Lee, Jin; CVPR 2022) that also reads a semantic field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from implicitkit import Features
from implicitkit.decoders import LTE, MLP, Condition, Inputs, Latent, Skip
from implicitkit.kernels import Waves, register_way, waves
from implicitkit_sair.decoders.injection import Appearance, Injection, Manner, ReadsMeaning, Semantics


class SemLTE(ReadsMeaning, LTE):
    """LTE whose MLP reads, beside the waves, the semantic field at the cell, or at the point, as ``AIR`` does.

    Args:
        in_channels: features per cell.
        out_channels: values per point; with the bilinear skip, the picture's channels.
        semantic_channels: values per point of the semantic field.
        semantics: ``"embedding"``, ``"embedding_at_point"``, ``"text"`` or ``"none"``, see ``Injection``.
        prompts: class names, or a data set's name, for ``"text"`` (and its control).
        classes: a file with their embeddings, for a semantic encoder that has no text tower; it may bring the names.
        appearance: ``"features"``, or ``"none"`` for meaning alone: zeros in place of the encoder's features.
        projected: width of the projected embedding.
        manner: how it enters the first layer: ``"add"``, as published, or ``"film"``, which scales and shifts.
        hidden: as in LTE: widths of the MLP's hidden layers; a number ``n`` stands for three layers of ``n``.
        basis: as in LTE: waves per cell, an even number (default: the first hidden width).
        local_ensemble: blend the four nearest cells (else: the nearest one alone).
        skip: as in LTE: ``"bilinear"`` adds the interpolated input picture, ``"harmonic"`` and ``"biharmonic"`` with
            its holes filled; ``"none"`` does not.
        scale_max: as in LTE: the largest trained magnification, or None.

    Raises:
        ValueError: an argument is out of range, or, when the model is composed, the semantic field is of another width.
        WeightsError: the file of classes cannot be read, or does not fit.
    """

    def __init__(
        self,
        in_channels: int = 64,
        out_channels: int = 3,
        semantic_channels: int = 512,
        semantics: Semantics = "embedding",
        prompts: Sequence[str] | str | None = None,
        classes: str | None = None,
        appearance: Appearance = "features",
        projected: int = 64,
        manner: Manner = "add",
        hidden: int | Sequence[int] = 256,
        basis: int | None = None,
        local_ensemble: bool = True,
        skip: Skip = "bilinear",
        scale_max: float | None = 4.0,
    ) -> None:
        super().__init__(in_channels, out_channels, hidden, basis, local_ensemble, skip, scale_max)
        # LTE's own part ends with the MLP's first layer, where the embedding comes in
        before, rest = self.mlp[:1], self.mlp[1:]
        first = before[0]
        assert isinstance(before, MLP) and isinstance(rest, MLP) and isinstance(first, nn.Linear)
        self.mlp, self.rest = before, rest
        self.injection = Injection(
            in_channels,
            first.out_features,
            semantics,
            semantic_channels,
            prompts,
            classes,
            projected,
            appearance,
            manner,
        )
        assert self.reach is not None  # a number for all of LIIF's family
        self.reach += self.injection.reach

    def prepare(self, features: Features, inputs: Inputs, conditions: Mapping[str, Condition]) -> Latent:
        latent = super().prepare(self.injection.into_map(features, conditions), inputs, conditions)
        meaning = self.injection.at_cell(features, conditions)
        if meaning is None:
            return latent
        rows = torch.cat([latent.features.rows, meaning.to(latent.features.rows.dtype)], dim=-1)
        return replace(latent, features=replace(latent.features, rows=rows))

    def at_point(self, cell: Tensor | None, conditions: Mapping[str, Tensor]) -> Tensor | None:
        phase, injected = super().at_point(cell, conditions), self.injection.at_point(conditions)
        assert phase is not None
        if injected is None:
            return phase
        points = max(len(phase), len(injected))  # either may be one row that serves all
        return torch.cat([phase.expand(points, -1), injected.expand(points, -1)], dim=-1)

    def local(self, rows: Tensor, offset: Tensor, cell: Tensor | None, point: Tensor | None) -> Tensor:
        assert point is not None
        phase, injected = point.split([self.basis // 2, point.shape[1] - self.basis // 2], dim=-1)
        waves = 2 * self.basis
        rows, of_cell = rows.split([waves, rows.shape[1] - waves], dim=-1)
        meaning = of_cell if self.injection.at_cells else injected if injected.shape[1] else None
        hidden = super().local(rows, offset, cell, phase)
        values: Tensor = self.rest(self.injection.enter(hidden, meaning))
        return values


def _way(decoder: SemLTE) -> Waves | None:
    """Waves have no place for what a cell adds to the sums, nor for what scales them."""
    injection = decoder.injection
    return waves(decoder, decoder.rest) if injection.manner == "add" and not injection.at_cells else None


register_way(SemLTE, _way)

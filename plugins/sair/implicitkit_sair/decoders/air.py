"""AIR, the appearance implicit representation (Zhang et al., ECCV 2024): appearance and meaning -> colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from implicitkit import Features
from implicitkit.decoders import LIIF, Condition, Inputs, Latent, Skip
from implicitkit.kernels import register_way, sums
from implicitkit_sair.decoders.injection import Appearance, Injection, Manner, ReadsMeaning, Semantics


class AIR(ReadsMeaning, LIIF):
    """LIIF, without a cell size, whose network also reads the semantic field at the cell (eq. 5).

    ``c_p = sum_q w_q f([z_q, SIR(q)], p - x_q)``: ``z_q`` the appearance features around the nearest cells, ``SIR(q)``
    the completed semantic embedding at the cell's centre, projected to ``projected`` numbers once per cell.
    ``semantics="embedding_at_point"`` has ``SIR(p)`` in its place. The model that it belongs to has a condition
    ``semantic``.

    Args:
        in_channels: appearance features per cell.
        out_channels: values per point.
        semantic_channels: values per point of the semantic field.
        semantics: ``"embedding"``, ``"embedding_at_point"``, ``"text"`` or ``"none"``, see ``Injection``.
        prompts: class names, or a data set's name, for ``"text"`` (and its control).
        classes: a file with their embeddings, for a semantic encoder that has no text tower; it may bring the names.
        appearance: ``"features"``, or ``"none"`` for meaning alone: zeros in place of the encoder's features.
        projected: width of the projected embedding.
        manner: how it enters the first layer: ``"add"``, as published, or ``"film"``, which scales and shifts.
        hidden: widths of the hidden layers.
        local_ensemble: blend the four nearest cells (else: the nearest one alone).
        feat_unfold: read the 3x3 neighbourhood of each cell (else: the cell alone).
        skip: as in LIIF: ``"bilinear"`` adds the linearly interpolated input picture, ``"harmonic"`` and
            ``"biharmonic"`` with its holes filled; the paper has ``"none"``.
        ndim: 1, 2 or 3; the same network for signals and volumes.

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
        hidden: Sequence[int] = (256, 256, 256, 256),
        local_ensemble: bool = True,
        feat_unfold: bool = True,
        skip: Skip = "none",
        ndim: int = 2,
    ) -> None:
        super().__init__(in_channels, out_channels, hidden, local_ensemble, feat_unfold, False, skip, ndim)
        self.injection = Injection(
            in_channels,
            self.first.out_features,
            semantics,
            semantic_channels,
            prompts,
            classes,
            projected,
            appearance,
            manner,
            ndim,
        )
        assert self.reach is not None  # a number for all of LIIF's family
        self.reach += self.injection.reach

    def prepare(self, features: Features, inputs: Inputs, conditions: Mapping[str, Condition]) -> Latent:
        latent = super().prepare(self.injection.into_map(features, conditions), inputs, conditions)
        meaning = self.injection.at_cell(features, conditions)
        if meaning is None:
            return latent
        # rows are the first layer's sums but for the offset's, which "film" leaves as they are
        rows = self.injection.enter(latent.features.rows, meaning.to(latent.features.rows.dtype))
        return replace(latent, features=replace(latent.features, rows=rows))

    def at_point(self, cell: Tensor | None, conditions: Mapping[str, Tensor]) -> Tensor | None:
        return self.injection.at_point(conditions)

    def local(self, rows: Tensor, offset: Tensor, cell: Tensor | None, point: Tensor | None) -> Tensor:
        return super().local(self.injection.enter(rows, point), offset, cell, None)


register_way(
    AIR, lambda decoder: sums(decoder) if decoder.injection.manner == "add" or decoder.injection.at_cells else None
)

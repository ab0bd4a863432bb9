"""AIR, the appearance implicit representation (Zhang et al., ECCV 2024): appearance and meaning -> colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from implicitkit import Features
from implicitkit.decoders import LIIF, Condition, Inputs, Latent, Skip
from implicitkit.kernels import register_way, sums
from implicitkit_sair.decoders.injection import Appearance, Injection, Manner, ReadsMeaning, Semantics


class AIR(ReadsMeaning, LIIF):
    """LIIF, without a cell size, whose network also reads the semantic field at the point.

    ``c_p = sum_q w_q f([z_q, SIR(p)], p - x_q)``: ``z_q`` the appearance features around the nearest
    cells, ``SIR(p)`` the completed semantic embedding at the point itself, projected to ``projected`` numbers once per
    point. The model that it belongs to has a condition ``semantic``.

    Args:
        in_channels: appearance features per cell.
        out_channels: values per point.
        semantic_channels: values per point of the semantic field.
        semantics: ``"embedding"``, ``"text"`` or ``"none"``, see ``Injection``.
        prompts: class names, for ``"text"`` (and its control).
        classes: a file with their embeddings, for a semantic encoder that has no text tower; it may bring the names.
        appearance: ``"features"``, or ``"none"`` for meaning alone: zeros in place of the encoder's features.
        projected: width of the projected embedding.
        manner: how it enters the first layer: ``"add"``, as published, or ``"film"``, which scales and shifts.
        hidden: widths of the hidden layers.
        local_ensemble: blend the four nearest cells (else: the nearest one alone).
        feat_unfold: read the 3x3 neighbourhood of each cell (else: the cell alone).
        skip: as in LIIF: ``"bilinear"`` adds the linearly interpolated input picture, ``"harmonic"`` and
            ``"biharmonic"`` with its holes filled; the paper has ``"none"``.

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
        prompts: Sequence[str] | None = None,
        classes: str | None = None,
        appearance: Appearance = "features",
        projected: int = 64,
        manner: Manner = "add",
        hidden: Sequence[int] = (256, 256, 256, 256),
        local_ensemble: bool = True,
        feat_unfold: bool = True,
        skip: Skip = "none",
    ) -> None:
        super().__init__(in_channels, out_channels, hidden, local_ensemble, feat_unfold, cell_decode=False, skip=skip)
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
        )
        assert self.reach is not None  # a number for all of LIIF's family
        self.reach += self.injection.reach

    def prepare(self, features: Features, inputs: Inputs, conditions: Mapping[str, Condition]) -> Latent:
        return super().prepare(self.injection.into_map(features, conditions), inputs, conditions)

    def at_point(self, cell: Tensor | None, conditions: Mapping[str, Tensor]) -> Tensor | None:
        return self.injection.at_point(conditions)

    def local(self, rows: Tensor, offset: Tensor, cell: Tensor | None, point: Tensor | None) -> Tensor:
        # rows are the first layer's sums but for the offset's, which "film" leaves as they are
        return super().local(self.injection.enter(rows, point), offset, cell, None)


register_way(AIR, lambda decoder: sums(decoder) if decoder.injection.manner == "add" else None)

"""How meaning enters a decoder: what AIR and SemLTE share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from implicitkit import Decoder, Features, UserError, WeightsError
from implicitkit.decoders import Condition, ConditionModel
from implicitkit_sair.semantic.class_names import named_classes

Semantics = Literal["embedding", "embedding_at_cell", "embedding_at_point", "text", "none"]
Appearance = Literal["features", "none"]
Manner = Literal["add", "film"]
AT_CELL = "embedding_at_cell"  # what a file calls "embedding", which older files say for "embedding_at_point"


class Injection(nn.Module):
    """Hands the semantic field on to a local-ensemble decoder, in one of three ways.

    ``"embedding"``, as SAIR's eq. 5 says: the completed embedding at the centre of every *feature cell* is projected
    and becomes one more input of the network's first layer. As that layer is linear, its part is computed once per cell
    and added to what the layer makes of the cell's features. With ``manner="film"`` it scales and shifts these sums
    instead, as FiLM (Perez et al., AAAI 2018) and the adaptive normalisation of later work do:
    ``(1 + s(e_q)) * sum + t(e_q)``, from zero. Files call it ``"embedding_at_cell"``.

    ``"embedding_at_point"`` does the same with the embedding at the *query* itself, once per point: sharper where the
    semantic field is, and at a magnification of 4 sixteen times as many evaluations of it.

    ``"text"``, as SAIR's authors ran it: dot products of the completed embeddings with those of class prompts, at the
    centre of every feature cell, are put beside the features and fused by a 7x7 convolution before anything else.

    ``"none"`` has the layers of ``"embedding"`` (of ``"text"``, if there are prompts) and gives them zeros: the control
    of equal capacity. Nothing asks its semantic field for values.

    ``appearance="none"`` is the control's mirror image, meaning alone: the same layers, and zeros in place of the
    appearance features. What a bilinear skip adds of the picture itself is no matter of features, and stays.

    Args:
        features: the decoder's features per cell.
        width: outputs of the layer that the embedding enters.
        semantics: see above.
        semantic_channels: values per point of the semantic field.
        prompts: class names for ``"text"``, or ``"ade20k"`` or ``"celebamask_hq"`` for those of that data set. Their
            embeddings come from the semantic encoder's text tower when the model is composed, from ``classes``, or from
            :meth:`name_classes`; a saved file holds them and asks for nothing.
        classes: a file with an embedding for each, see ``class_embeddings``, for encoders without a
            text tower or at hand without it. Where no prompts are given, it says how many classes there are, and
            their names if it has any.
        projected: how many numbers the embedding is projected to.
        appearance: ``"features"``, or ``"none"`` for zeros in their place.
        manner: ``"add"``, or ``"film"``; of ``"text"``, which is fused elsewhere, ``"add"`` alone.
        ndim: dimensions of the decoder's coordinates.

    Raises:
        ValueError: ``"text"`` without classes or ``"embedding"`` with some, neither meaning nor appearance, or a width
            that is not positive.
        WeightsError: the file of classes cannot be read, is of another width, or contradicts the prompts.
    """

    classes: Tensor

    def __init__(
        self,
        features: int,
        width: int,
        semantics: Semantics = "embedding",
        semantic_channels: int = 512,
        prompts: Sequence[str] | str | None = None,
        classes: str | None = None,
        projected: int = 64,
        appearance: Appearance = "features",
        manner: Manner = "add",
        ndim: int = 2,
    ) -> None:
        super().__init__()
        if manner not in ("add", "film") or (manner == "film" and semantics == "text"):
            raise ValueError(f"manner is 'add' or, of embeddings, 'film'; received {manner!r} with {semantics!r}")
        if semantics == AT_CELL:
            semantics = "embedding"
        if semantics not in ("embedding", "embedding_at_point", "text", "none"):
            raise ValueError(
                f"semantics is 'embedding', 'embedding_at_point', 'text' or 'none'; received {semantics!r}"
            )
        if appearance not in ("features", "none"):
            raise ValueError(f"appearance is 'features' or 'none'; received {appearance!r}")
        if semantics == appearance == "none":
            raise ValueError(
                "semantics='none' and appearance='none' leave the decoder nothing to read; keep one of the two"
            )
        if isinstance(prompts, str):
            prompts = named_classes(prompts) or [prompts]
        given = bool(prompts) or classes is not None
        if (semantics == "text") > given or (semantics.startswith("embedding") and given):
            raise ValueError(
                "semantics='text' needs prompts, or classes, and 'embedding' takes none; received "
                f"semantics={semantics!r} with prompts={list(prompts or [])}"
                + (f" and classes={classes!r}" if classes is not None else "")
            )
        if min(semantic_channels, projected) < 1:
            raise ValueError(
                f"semantic_channels and projected are positive; received {semantic_channels} and {projected}"
            )
        self.semantics, self.semantic_channels, self.appearance = semantics, semantic_channels, appearance
        self.manner = manner
        self.prompts, embeddings = list(prompts or []), None
        if classes is not None:
            self.prompts, embeddings = _read(classes, self.prompts, semantic_channels)
        self.told = embeddings is not None
        self.reach = 0
        if self.prompts:
            self.reach = 3  # the 7x7 convolution's cells
            convolution = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[ndim]
            self.fuse = convolution(features + len(self.prompts), features, 7, padding=3)
            named = torch.zeros(len(self.prompts), semantic_channels) if embeddings is None else embeddings
            self.register_buffer("classes", named)
        else:
            # no bias, so that zero semantics are no semantics
            self.project = nn.Linear(semantic_channels, projected, bias=False)
            self.inject = nn.Linear(projected, width if manner == "add" else 2 * width, bias=False)
            if manner == "film":
                nn.init.zeros_(self.inject.weight)

    def name_classes(self, embeddings: Tensor) -> None:
        """Set the prompts' embeddings, ``(prompts, semantic_channels)``, where no text tower can make them."""
        if embeddings.shape != self.classes.shape:
            raise ValueError(
                f"{len(self.prompts)} prompts have embeddings {tuple(self.classes.shape)}; received "
                f"{tuple(embeddings.shape)}"
            )
        self.classes.copy_(embeddings)

    @property
    def at_points(self) -> bool:
        """Whether the semantic field is read at the query's points."""
        return self.semantics == "embedding_at_point"

    @property
    def at_cells(self) -> bool:
        """Whether its embeddings are read at the centres of the feature cells."""
        return self.semantics == "embedding"

    def connect(self, semantic: ConditionModel) -> None:
        """Check that the semantic model's values fit, and name the classes if no file has, and it has a text tower.

        Raises:
            ValueError: it has another number of values per point.
        """
        channels = semantic.decoder.out_channels
        if channels != self.semantic_channels:
            raise ValueError(
                f"the semantic field has {channels} values per point, this decoder takes {self.semantic_channels}; "
                f"create it with semantic_channels={channels}"
            )
        if self.semantics == "text" and not self.told:
            from implicitkit_sair.semantic.clip.text import encode_text

            embeddings: Tensor | None = None
            # without a text tower they may still come: from the file that the model is filled from, or by hand
            with suppress(UserError, ValueError):
                embeddings = encode_text(semantic.encoder, self.prompts)
            if embeddings is not None:
                self.name_classes(embeddings)

    def into_map(self, features: Features, conditions: Mapping[str, Condition]) -> Features:
        """The features, or zeros, for ``"text"`` fused with the similarities to the classes, cell by cell."""
        if self.appearance == "none":
            # a product, so that the encoder has gradients, all of them zero, and processes do not wait for any
            features = replace(features, map=features.map * 0)
        if not self.prompts:
            return features
        map = features.map
        if self.semantics == "none":
            similar = map.new_zeros(len(map), len(self.prompts), *map.shape[2:])
        else:
            if not self.classes.any():  # an embedding is never zero
                raise ValueError(
                    f"the {len(self.prompts)} prompts have no embeddings, as the semantic encoder has no text tower; "
                    "give them with classes: FILE, or model.decoder.injection.name_classes(embeddings)"
                )
            similar = self._on_cells(features, conditions["semantic"], len(self.prompts), self._similarities)
        return replace(features, map=self.fuse(torch.cat([map, similar.to(map.dtype)], dim=1)))

    def at_cell(self, features: Features, conditions: Mapping[str, Condition]) -> Tensor | None:
        """What the embeddings at the cells do to the first layer's sums, see :meth:`enter`: ``(B, cells, width)``,
        twice that for ``"film"``; None unless they are read there.
        """
        if not self.at_cells:
            return None

        def injected(values: Tensor) -> Tensor:
            result: Tensor = self.inject(self.project(values.movedim(1, -1)))
            return result.movedim(-1, 1)

        map = self._on_cells(features, conditions["semantic"], self.inject.out_features, injected)
        return map.flatten(2).transpose(1, 2)

    def at_point(self, conditions: Mapping[str, Tensor]) -> Tensor | None:
        """The same of the embeddings ``(M, semantic_channels)`` at points: ``(M, width)``, one row for ``"none"`` as it
        is the same everywhere; None where nothing is read at points.
        """
        if self.prompts or self.at_cells:
            return None
        if self.semantics == "none":
            embedding = self.project.weight.new_zeros(1, self.semantic_channels)
        else:
            embedding = conditions["semantic"]
        injected: Tensor = self.inject(self.project(embedding))
        return injected

    def enter(self, sums: Tensor, point: Tensor | None) -> Tensor:
        """The first layer's sums ``(..., width)`` with the meaning that :meth:`at_point` or :meth:`at_cell` gave."""
        if point is None:
            return sums
        if self.manner == "add":
            return sums + point
        scale, shift = point.chunk(2, dim=-1)
        return torch.addcmul(sums + shift, sums, scale)

    def _similarities(self, values: Tensor) -> Tensor:
        """Dot products ``(B, prompts, *S)`` of embeddings ``(B, semantic_channels, *S)`` with those of the classes."""
        return torch.einsum("bc...,pc->bp...", values, self.classes)

    def _on_cells(self, features: Features, field: Condition, width: int, of: Callable[[Tensor], Tensor]) -> Tensor:
        """``(B, width, *cells)``: what ``of`` makes of the semantic field at the centres of the cells, which may lie on
        the padding.
        """
        cells = tuple(features.map.shape[2:])
        size = [n / e * g for n, e, g in zip(field.size, features.extent, features.grid, strict=True)]  # in cells
        lows = [-1 + 2 * o / s for o, s in zip(features.origin, size, strict=True)]
        highs = [-1 + 2 * (o + n) / s for o, n, s in zip(features.origin, cells, size, strict=True)]
        whole = features.map.new_empty(len(features.map), width, *cells, dtype=torch.float32)
        # block by block, as the embeddings of all cells would be hundreds of times the picture
        for window, values in field.blocks(cells, (*lows, *highs)):
            whole[(slice(None), slice(None), *window)] = of(values).float()
        return whole

    def extra_repr(self) -> str:
        return (
            f"semantics={self.semantics}, semantic_channels={self.semantic_channels}, prompts={self.prompts}, "
            f"appearance={self.appearance}, manner={self.manner}"
        )


class ReadsMeaning(Decoder):
    """What AIR and SemLTE add to LIIF and LTE as decoders: the condition ``semantic``, which ``injection`` reads."""

    conditions: ClassVar[tuple[str, ...]] = ("semantic",)
    injection: Injection

    @property
    def read_conditions(self) -> tuple[str, ...]:
        return ("semantic",) if self.injection.at_cells else self.queried

    @property
    def queried(self) -> tuple[str, ...]:
        return self.conditions if self.injection.at_points else ()

    def connect(self, conditions: Mapping[str, ConditionModel]) -> None:
        self.injection.connect(conditions["semantic"])

    def portable(self, spec: dict[str, Any]) -> dict[str, Any]:
        """The embeddings of its classes are in the file that it was saved in, so it asks for no other; and where the
        semantic field is read is said in full.
        """
        kept = {key: argument for key, argument in spec.items() if key != "classes"}
        if spec.get("classes") is not None:
            kept["prompts"] = self.injection.prompts
        return {**kept, "semantics": AT_CELL} if self.injection.at_cells else kept

    @classmethod
    def migrate(cls, spec: dict[str, Any]) -> dict[str, Any]:
        """In files that do not say ``"embedding_at_cell"``, an embedding was read at the point."""
        at_point = spec.get("semantics", "embedding") == "embedding"
        return {**spec, "semantics": "embedding_at_point"} if at_point else spec


def _read(file: str, prompts: list[str], width: int) -> tuple[list[str], Tensor]:
    """The names and embeddings of the classes in ``file``; unnamed ones are numbered."""
    from implicitkit_sair.semantic.class_embeddings import read_classes

    names, embeddings = read_classes(file, width)
    if prompts and len(prompts) != len(embeddings):
        raise WeightsError(f"{file} holds {len(embeddings)} embeddings for {len(prompts)} prompts; give one for each")
    if prompts and names is not None and prompts != names:
        other = next(pair for pair in zip(names, prompts, strict=True) if pair[0] != pair[1])
        raise WeightsError(f"{file} says {other[0]!r} where the prompts say {other[1]!r}; leave the prompts out")
    return prompts or names or [f"class {k + 1}" for k in range(len(embeddings))], embeddings

"""Meaning as a picture: which of the named classes a semantic field is nearest to, at any resolution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from implicitkit import Decoder, Encoder, Field, ImplicitModel, UserError, create_decoder
from implicitkit_sair.segmentation.vocabulary import Vocabulary, check_names

Window = tuple[slice, ...]


class Segmentation(NamedTuple):
    """What :func:`segment` returns; with a leading ``B`` for a batch."""

    labels: Tensor
    """``(H, W)`` int64: the class of the highest score."""
    scores: Tensor
    """``(K, H, W)`` float32 in [-1, 1]: the cosine between the field and each class's embedding."""


def segment(
    field: Field,
    names: Sequence[str],
    size: Sequence[int],
    *,
    box: Sequence[float] | None = None,
    embeddings: Tensor | None = None,
    templates: Sequence[str] | None = None,
    text_weights: str | None = None,
    completed: bool = True,
    condition: str | None = None,
) -> Segmentation:
    """The class of every pixel, among ``names``.

    Args:
        field: of a semantic model, or of a model that reads one as a condition (SAIR).
        names: the classes, one or more.
        size: ``(H, W)`` of the result, whatever the picture's own.
        box: the window ``(y0, x0, y1, x1)`` to show (default: the whole extent).
        embeddings: ``(K, D)``, a row for each of ``names`` in the field's space (default: what the text tower of the
            field's encoder makes of them).
        templates: what the names are put into before the text tower reads them, such as ``"a photo of a {}."``
            (default: those of ``encode_text``).
        text_weights: where the text tower is, if the field's model came from a file, which holds none: a tag, a hub id
            or a file.
        completed: ask the decoder; False reads the encoder's features as they are, bilinearly: what there is to see
            before a SIR has completed it.
        condition: which of the field's conditions holds the meaning, if there are several.

    Raises:
        UserError: the field holds no meaning, or the embeddings are not of its width.
        ValueError: names repeat, there are none, or the embeddings do not go with them.
    """
    check_names(names)
    semantic = semantic_field(field, condition)
    if embeddings is None:
        vocabulary = Vocabulary.from_text(semantic.model.encoder, names, templates, text_weights)
    else:
        vocabulary = Vocabulary(tuple(names), embeddings)
    source = semantic if completed else before_completion(semantic)
    labels: Tensor | None = None
    for window, block in score_blocks(source, vocabulary, size, box):
        if labels is None:
            batch, height, width = len(block), *size
            labels = torch.empty((batch, height, width), dtype=torch.int64, device=block.device)
            scores = block.new_empty((batch, len(vocabulary), height, width))
        labels[:, window[0], window[1]] = block.argmax(1)
        scores[:, :, window[0], window[1]] = block
    assert labels is not None
    return Segmentation(labels, scores) if field.batched else Segmentation(labels[0], scores[0])


def score_blocks(
    field: Field, vocabulary: Vocabulary, size: Sequence[int], box: Sequence[float] | None = None
) -> Iterator[tuple[Window, Tensor]]:
    """The scores ``(B, K, *window)`` piece by piece, so that no ``(D, H, W)`` need be held.

    Raises:
        UserError: the embeddings are not of the field's width.
    """
    wide, given = field.model.decoder.out_channels, vocabulary.embeddings.shape[1]
    if wide != given:
        raise UserError(
            f"the semantic field has {wide} values per point, the classes' embeddings {given}; they must come from "
            "the model whose features the field completes"
        )
    embeddings = vocabulary.embeddings.to(field.device)
    for window, values in field.blocks(size, box):
        yield window, torch.einsum("bdhw,kd->bkhw", F.normalize(values, dim=1), embeddings)


def semantic_field(field: Field, condition: str | None = None) -> Field:
    """The field that holds the meaning: ``field`` itself, or one of its conditions.

    Raises:
        UserError: there is none, or several and ``condition`` does not say which.
    """
    name = _semantic_name(field.model.encoder, field.model.decoder, field.model.conditions, condition)
    return field if name is None else field.conditions[name]


def semantic_model(model: ImplicitModel, condition: str | None = None) -> ImplicitModel:
    """The part of a model that :func:`semantic_field` finds in a field; use it if nothing is to be painted."""
    name = _semantic_name(model.encoder, model.decoder, model.conditions, condition)
    return model if name is None else model.conditions[name]


def before_completion(field: Field) -> Field:
    """The features of ``field``'s encoder, for the same picture and mask, interpolated bilinearly."""
    encoder = field.model.encoder
    decoder = create_decoder("bilinear", in_channels=encoder.out_channels, project=False, ndim=encoder.ndim)
    raw = ImplicitModel(encoder, decoder, inputs=field.model.inputs)
    return raw.encode(field.image, field.mask if raw.takes_mask else None, precision=field.precision)


def _semantic_name(
    encoder: Encoder, decoder: Decoder, conditions: Mapping[str, Any], condition: str | None
) -> str | None:
    """The condition that holds the meaning; None if the model does itself."""
    if condition is not None:
        if condition not in conditions:
            raise UserError(
                f"the model has no condition {condition!r}; its conditions: {', '.join(conditions) or 'none'}"
            )
        return condition
    if decoder.output == "embedding":
        return None
    names = [name for name, inner in conditions.items() if inner.decoder.output == "embedding"]
    if len(names) != 1:
        raise UserError(
            "meaning is read from a model whose decoder gives an embedding (sir), or that reads one as a condition; "
            f"received {type(encoder).__name__} with {type(decoder).__name__}, its semantic conditions: "
            f"{', '.join(names) or 'none'}"
        )
    return names[0]

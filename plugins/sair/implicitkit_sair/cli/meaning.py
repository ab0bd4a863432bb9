"""What the commands about meaning share: the classes, and where their embeddings come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from implicitkit import UserError

if TYPE_CHECKING:
    from implicitkit import ImplicitModel
    from implicitkit_sair.segmentation.vocabulary import Vocabulary


def parse_classes(text: str) -> list[str]:
    """Class names from ``"sky, tree"``, from a text file with one per line, or of a data set, ``ade20k``."""
    from implicitkit_sair.segmentation.vocabulary import check_names, read_names
    from implicitkit_sair.semantic.class_names import named_classes

    names = named_classes(text) or [word.strip() for word in text.split(",")]
    if len(names) == 1 and Path(text).suffix == ".txt":
        names = read_names(text)
    try:
        check_names(names)
    except ValueError as error:
        raise UserError(f"--classes: {error}") from None
    return names


def make_vocabulary(
    model: ImplicitModel,
    classes: Sequence[str],
    embeddings: Path | None,
    names: Path | None,
    templates: str | Path | None,
    text_weights: str | None,
) -> Vocabulary:
    """See ``choose_vocabulary``; errors speak of flags."""
    from implicitkit_sair.segmentation.labelling import semantic_model
    from implicitkit_sair.segmentation.vocabulary import choose_vocabulary

    encoder = semantic_model(model).encoder
    return choose_vocabulary(encoder, classes, embeddings, names, templates, text_weights, spell=_flag)


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"

"""What the commands about meaning share: the classes, and where their embeddings come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from implicitkit.errors import UserError, WeightsError

if TYPE_CHECKING:
    from implicitkit.model import ImplicitModel
    from implicitkit_sair.vocabulary import Vocabulary


def parse_classes(text: str) -> list[str]:
    """Class names from ``"sky, tree"``, or from a text file with one per line."""
    from implicitkit_sair.vocabulary import check_names, read_names

    names = [word.strip() for word in text.split(",")]
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
    templates: Path | None,
    text_weights: str | None,
) -> Vocabulary:
    """An embedding for each of ``classes``: rows of a file, or what the text tower of the model's encoder makes.

    Raises:
        UserError: options that do not go together, a class that the file does not name, or no text tower.
    """
    from implicitkit_sair.segmentation import semantic_model
    from implicitkit_sair.vocabulary import Vocabulary, read_names

    semantic = semantic_model(model)
    if embeddings is not None:
        for flag, value in (("--templates", templates), ("--text-weights", text_weights)):
            if value is not None:
                raise UserError(f"{flag} has no meaning with --embeddings, which holds what a text tower has said")
        if names is None:
            return Vocabulary.from_file(embeddings, classes)
        return Vocabulary.from_file(embeddings, read_names(names)).select(classes)
    if names is not None:
        raise UserError("--names says what the rows of --embeddings are called; pass that too, or --classes alone")
    lines = None if templates is None else read_names(templates)
    try:
        return Vocabulary.from_text(semantic.encoder, classes, lines, text_weights)
    except WeightsError as error:
        raise UserError(f"{error}; on the command line: --text-weights, or --embeddings FILE.npy") from None
    except UserError:
        raise
    except ValueError as error:  # an encoder that has no words
        raise UserError(f"{error}; pass --embeddings FILE.npy with a row for each class") from None

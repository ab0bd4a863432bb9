"""Classes by name, each with its embedding in the space that a semantic field lives in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from implicitkit import DataError, Encoder, UnknownNameError, UserError, WeightsError
from implicitkit.errors import nearest
from implicitkit_sair.semantic.class_names import CLASS_LISTS, named_classes
from implicitkit_sair.semantic.clip.templates import named_templates


@dataclass(frozen=True)
class Vocabulary:
    """Class names and their embeddings.

    Attributes:
        names: all different.
        embeddings: ``(K, D)`` float32, of length one each; any other length is brought to it.

    Raises:
        ValueError: names repeat, there are none, or the embeddings are not one finite row for each of them.
    """

    names: tuple[str, ...]
    embeddings: Tensor

    def __post_init__(self) -> None:
        check_names(self.names)
        rows = self.embeddings.float()
        if rows.ndim != 2 or len(rows) != len(self.names):
            raise ValueError(
                f"{len(self.names)} classes take embeddings ({len(self.names)}, D); received {tuple(rows.shape)}"
            )
        if not bool(rows.isfinite().all()) or not bool((rows.norm(dim=1) > 0).all()):
            raise ValueError("an embedding is a finite vector other than zero; received one that is not")
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "embeddings", F.normalize(rows, dim=1))

    def __len__(self) -> int:
        return len(self.names)

    def select(self, names: Sequence[str]) -> Vocabulary:
        """The classes that ``names`` says, in that order; capitals do not matter.

        Raises:
            UnknownNameError: one is not among them; the message says which come near.
        """
        place = {name.casefold(): k for k, name in enumerate(self.names)}
        for name in names:
            if name.casefold() not in place:
                near = nearest(name, self.names, count=3) or list(self.names[:3])
                raise UnknownNameError(
                    f"there is no class {name!r} among the {len(self)} that have an embedding (such as "
                    f"{', '.join(near)})"
                )
        chosen = [place[name.casefold()] for name in names]
        return Vocabulary(tuple(self.names[k] for k in chosen), self.embeddings[chosen])

    @classmethod
    def from_text(
        cls,
        encoder: Encoder,
        names: Sequence[str],
        templates: Sequence[str] | str | None = None,
        weights: str | None = None,
    ) -> Vocabulary:
        """``names`` as the text tower that belongs to ``encoder`` reads them; see
        ``encode_text`` for ``templates``, ``weights`` and what is raised.
        """
        from implicitkit_sair.semantic.clip.text import TEMPLATES, encode_text

        check_names(names)
        return cls(tuple(names), encode_text(encoder, names, templates or TEMPLATES, weights).cpu())

    @classmethod
    def from_file(cls, embeddings: str | Path, names: Sequence[str]) -> Vocabulary:
        """``names`` and a file with a row for each, in their order; among the rows of a file that names them itself,
        they are looked up.

        Raises:
            WeightsError: the file cannot be read, or holds something else.
            DataError: it has another number of rows.
            UnknownNameError: it has no row of that name.
        """
        from implicitkit_sair.semantic.class_embeddings import read_classes

        check_names(names)
        own, rows = read_classes(embeddings)
        if own is not None:
            return cls(tuple(own), rows).select(names)
        if len(rows) != len(names):
            raise DataError(f"{embeddings} holds {len(rows)} embeddings for {len(names)} names; give one for each")
        return cls(tuple(names), rows)


def choose_vocabulary(
    encoder: Encoder,
    classes: Sequence[str],
    embeddings: str | Path | None = None,
    names: str | Path | None = None,
    templates: Sequence[str] | str | Path | None = None,
    text_weights: str | None = None,
    spell: Callable[[str], str] = str,
) -> Vocabulary:
    """An embedding for each of ``classes``: rows of a file, or what the text tower of ``encoder`` makes.

    Args:
        encoder: of the semantic model.
        classes: their names, in order.
        embeddings: an ``.npy`` or ``.safetensors`` file with a row for each.
        names: a text file that says what its rows are called, one per line, if they are not in the order of
            ``classes``.
        templates: what the names are put into before the text tower reads them, a text file with one per line, or
            ``"clip"`` or ``"maskclip"``.
        text_weights: where the text tower is, if the encoder came from a file, which holds none.
        spell: what the arguments above are called in errors.

    Raises:
        UserError: arguments that do not go together, a class that the file does not name, or no text tower.
    """
    if embeddings is not None:
        for option, value in (("templates", templates), ("text_weights", text_weights)):
            if value is not None:
                raise UserError(
                    f"{spell(option)} has no meaning with {spell('embeddings')}, which holds what a text tower has said"
                )
        if names is None:
            return Vocabulary.from_file(embeddings, classes)
        return Vocabulary.from_file(embeddings, read_names(names)).select(classes)
    if names is not None:
        raise UserError(
            f"{spell('names')} says what the rows of {spell('embeddings')} are called; pass that too, or "
            f"{spell('classes')} alone"
        )
    file = isinstance(templates, Path) or (isinstance(templates, str) and named_templates(templates) is None)
    lines = read_names(templates) if file else templates  # type: ignore[arg-type]
    try:
        return Vocabulary.from_text(encoder, classes, lines, text_weights)
    except WeightsError as error:
        raise UserError(f"{error}; pass {spell('text_weights')}, or {spell('embeddings')} FILE.npy") from None
    except UserError:
        raise
    except ValueError as error:  # an encoder that has no words
        raise UserError(f"{error}; pass {spell('embeddings')} FILE.npy with a row for each class") from None


def check_names(names: Sequence[str]) -> None:
    """Raise ``ValueError`` unless ``names`` are one or more different, non-empty class names."""
    if isinstance(names, str):
        raise ValueError(f"class names are a list such as ['sky', 'tree']; received the text {names!r}")
    folded = [name.strip().casefold() for name in names]
    if not folded or "" in folded:
        raise ValueError(f"class names are one or more, none of them empty; received {list(names)}")
    twice = sorted({name for name in folded if folded.count(name) > 1})
    if twice:
        raise ValueError(f"class names must differ; received {', '.join(twice)} more than once")


def find_names(source: str) -> list[str]:
    """Class names from a text file, or those of a data set: ``"ade20k"``, ``"celebamask_hq"``.

    Raises:
        DataError: it is neither; see :func:`read_names`.
    """
    named = named_classes(source)
    if named is None and not Path(source).suffix and not Path(source).exists():
        raise DataError(f"there is no list of classes {source!r}; there are {', '.join(CLASS_LISTS)}, and text files")
    return read_names(source) if named is None else named


def read_names(file: str | Path) -> list[str]:
    """Class names from a text file, one per line; empty lines and what follows a ``#`` are left out.

    Raises:
        DataError: the file cannot be read or holds none.
    """
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(f"there is no file {file}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {file}: {error}") from None
    names = [name for line in lines if (name := line.partition("#")[0].strip())]
    if not names:
        raise DataError(f"{file} holds no class names; it has one per line")
    return names

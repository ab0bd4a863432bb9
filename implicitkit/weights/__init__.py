"""Weight files: ours, the authors', those on a hub. Files become :class:`~implicitkit.weights.checkpoint.Checkpoint`
objects and back; nothing is built here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import lazy_loader

from implicitkit.errors import WeightsError, first_line
from implicitkit.weights.checkpoint import Checkpoint

if TYPE_CHECKING:
    from implicitkit.weights.native import fill as fill
    from implicitkit.weights.native import fingerprint as fingerprint
    from implicitkit.weights.native import read_metadata as read_metadata
    from implicitkit.weights.pickled import read_pickled as read_pickled
else:  # these import torch, when they are first used
    _LAZY = {"native": ["fill", "fingerprint", "read_metadata"], "pickled": ["read_pickled"]}
    __getattr__, __dir__, _ = lazy_loader.attach(__name__, submod_attrs=_LAZY)

MODEL_FILE = "model.safetensors"
"""The file of a hub repository, or of a folder, that is the model."""


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The content of a weight file of any format we know, told apart by content and not by name.

    Raises:
        WeightsError: there is no such file, or it cannot be read.
    """
    from implicitkit.weights import authors, native

    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"there is no file {path}")
    return native.read_native(path) if is_safetensors(path) else authors.read_authors(path)


def is_safetensors(path: Path) -> bool:
    """Whether the file begins as a safetensors file does: a length, then a JSON object."""
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:] == b"{"


def from_hub(name: str) -> Path:
    """The model's file of a hub repository ``"Organisation/name"``, or ``"Organisation/name@revision"``, downloaded.

    Raises:
        WeightsError: it cannot be had.
    """
    from huggingface_hub import hf_hub_download

    repository, _, revision = name.partition("@")
    try:
        return Path(hf_hub_download(repository, MODEL_FILE, revision=revision or None))
    except Exception as error:  # the hub's client raises many kinds, from no network to no such repository
        raise WeightsError(f"cannot get {MODEL_FILE} of {name!r} from the hub: {first_line(error)}") from None


def from_folder(folder: str | Path) -> Path:
    """The model's file of a local folder.

    Raises:
        WeightsError: it has none.
    """
    file = Path(folder) / MODEL_FILE
    if not file.is_file():
        raise WeightsError(f"there is no {MODEL_FILE} in the folder {folder}")
    return file

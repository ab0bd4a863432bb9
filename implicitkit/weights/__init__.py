"""Read weight files: ours, the authors' and those on a hub."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies

import lazy_loader

from implicitkit.errors import WeightsError, first_line
from implicitkit.files import check_regular
from implicitkit.weights.checkpoint import Checkpoint

if TYPE_CHECKING:
    from implicitkit.weights.fetching import fetch as fetch
    from implicitkit.weights.fetching import is_here as is_here
    from implicitkit.weights.known import KnownFile as KnownFile
    from implicitkit.weights.known import Source as Source
    from implicitkit.weights.known import known_file as known_file
    from implicitkit.weights.native import fill as fill
    from implicitkit.weights.native import fingerprint as fingerprint
    from implicitkit.weights.native import read_metadata as read_metadata
    from implicitkit.weights.native import read_spec as read_spec
    from implicitkit.weights.pickled import read_pickled as read_pickled
else:  # these import torch, when they are first used
    _LAZY = {
        "fetching": ["fetch", "is_here"],
        "known": ["KnownFile", "Source", "known_file"],
        "native": ["fill", "fingerprint", "read_metadata", "read_spec"],
        "pickled": ["read_pickled"],
    }
    __getattr__, __dir__, _ = lazy_loader.attach(__name__, submod_attrs=_LAZY)

MAX_HEADER_BYTES = 100_000_000  # of the safetensors format
MODEL_FILE = "model.safetensors"
"""The model's file in a hub repository or a folder."""
HUB = "https://huggingface.co"


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The content of a weight file of any known format, recognised by content, not by name.

    Raises:
        WeightsError: there is no such file, or it cannot be read.
    """
    from implicitkit.weights import authors, native

    path = Path(path).expanduser()
    if not path.is_file():
        check_regular(path)
        raise WeightsError(f"{path} is a folder" if path.is_dir() else f"there is no file {path}")
    return native.read_native(path) if is_safetensors(path) else authors.read_authors(path)


def is_safetensors(path: Path) -> bool:
    """Whether the file begins like a safetensors file: a length, then a JSON object."""
    with path.open("rb") as file:
        head = file.read(9)
    length = int.from_bytes(head[:8], "little")  # that of a text would be above 10**18
    return len(head) == 9 and head[8:] == b"{" and length <= MAX_HEADER_BYTES


def from_hub(name: str) -> Path:
    """Download the model's file of a hub repository ``"Organisation/name"`` or ``"Organisation/name@revision"``.

    Raises:
        WeightsError: the download failed.
    """
    return hub_file(name, MODEL_FILE)


def hub_file(name: str, file: str, cache: Path | None = None) -> Path:
    """Download a file of a hub repository into the hub's cache, or into the cache folder given.

    Raises:
        WeightsError: the download failed.
    """
    from huggingface_hub import hf_hub_download

    repository, _, revision = name.partition("@")
    offline = not hub_has_a_name()
    try:
        path = hf_hub_download(repository, file, revision=revision or None, cache_dir=cache, local_files_only=offline)
        return Path(path)
    except Exception as error:  # the hub's client raises many kinds
        why = "it cannot be reached, and nothing of it is in the cache" if offline else first_line(error)
        raise WeightsError(f"cannot get {file} of {name!r} from the hub: {why}") from None


def hub_has_a_name() -> bool:
    """Whether the hub's name resolves; where it does not, its client would try for half a minute.

    A proxy resolves names by itself.
    """
    host = urlsplit(os.environ.get("HF_ENDPOINT") or HUB).hostname
    if getproxies() or host is None:
        return True
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True


def from_folder(folder: str | Path) -> Path:
    """The model's file of a local folder.

    Raises:
        WeightsError: it has none.
    """
    file = Path(folder) / MODEL_FILE
    if not file.is_file():
        raise WeightsError(f"there is no {MODEL_FILE} in the folder {folder}")
    return file

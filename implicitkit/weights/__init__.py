"""Weight files: ours, the authors', those on a hub, and the ones in the box."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from implicitkit.errors import PluginError, UnknownNameError, WeightsError, first_line
from implicitkit.registry.registry import Entry

if TYPE_CHECKING:
    from implicitkit.model import ImplicitModel

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
HUB_FILE = "model.safetensors"
FILE_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".onnx")


def load_model(source: str | Path) -> ImplicitModel:
    """A model with its weights, in eval mode.

    Args:
        source: a native ``.safetensors`` file, an authors' ``.pth`` checkpoint (told apart by content, not by name),
            the name of a pretrained model (``"liif_small"``), or a hub id ``"Organisation/name"`` whose repository
            holds ``model.safetensors``.

    Raises:
        WeightsError: nothing is found there, or it cannot be read.
    """
    path = Path(source)
    if path.is_file():
        return load_file(path)
    from implicitkit.registry.kinds import models

    text = str(source)
    try:
        entry, _ = models.find(text)
    except UnknownNameError as unknown:
        looks_like_file = (
            path.suffix in FILE_SUFFIXES
            or text.startswith((".", "/", "~"))
            or (path.parent.parts != () and path.parent.is_dir())
        )
        if HUB_ID.fullmatch(text) and not looks_like_file:
            return load_file(_from_hub(text))
        raise WeightsError(f"there is no file {text}" if looks_like_file else str(unknown)) from None
    return load_pretrained(entry)


def load_file(path: Path) -> ImplicitModel:
    """A model from a file of any format we know."""
    if is_safetensors(path):
        from implicitkit.weights.native import load_native

        return load_native(path)
    from implicitkit.weights.authors import load_authors

    return load_authors(path)


def is_safetensors(path: Path) -> bool:
    """Whether the file begins as a safetensors file does: a length, then a JSON object."""
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:] == b"{"


def load_pretrained(entry: Entry[Any]) -> ImplicitModel:
    """A named model with the weights that its distribution ships.

    Raises:
        WeightsError: it ships none; the message says how to get some, if the entry's metadata does (``advice``).
    """
    from implicitkit.registry.kinds import models
    from implicitkit.weights.native import load_native

    if not entry.metadata.get("pretrained"):
        have = ", ".join(models.names(pretrained=True)) or "none"
        advice = entry.metadata.get("advice", "train it with `implicitkit train`, or load a weight file of it")
        raise WeightsError(f"{entry.name} comes without weights; {advice} (models that come with weights: {have})")
    stored = shipped_file(entry)
    if not stored.is_file():
        raise WeightsError(
            f"the weights of {entry.name} are missing from this installation (looked for {stored}); "
            f"reinstall {entry.owner.distribution}"
        )
    return load_native(stored)


def shipped_file(entry: Entry[Any]) -> Path:
    """Where a named model's weights are, whether or not there is a file: ``package:path`` in its metadata, the path
    being inside the package.

    Raises:
        PluginError: the metadata says something else, or names a package that cannot be imported.
    """
    stored = entry.metadata["pretrained"]
    package, colon, path = stored.partition(":") if isinstance(stored, str) else ("", "", "")
    if not (package and colon and path):
        raise PluginError(
            f"model {entry.name!r} of {entry.owner} says that its weights are {stored!r}; its metadata names them as "
            "'package:path', such as 'my_package:weights/mine.safetensors'"
        )
    try:
        return Path(str(files(package).joinpath(path)))
    except ImportError as error:
        raise PluginError(f"the weights of model {entry.name!r} of {entry.owner} cannot be found: {error}") from error


def _from_hub(name: str) -> Path:
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise WeightsError(
            f"{name!r} looks like a hub id; loading one needs huggingface_hub: pip install 'implicitkit[hub]'"
        ) from None
    try:
        return Path(hf_hub_download(name, HUB_FILE))
    except Exception as error:  # the hub's client raises many kinds, from no network to no such repository
        reason = first_line(error)
        raise WeightsError(f"cannot get {HUB_FILE} of {name!r} from the hub: {reason}") from None

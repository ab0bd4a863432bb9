"""Training configurations that begin with another: ``base: other.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from implicitkit.config.documents import Document, Places, check_command, load_yaml
from implicitkit.config.training import TrainConfig
from implicitkit.config.validation import validate
from implicitkit.errors import ConfigError
from implicitkit.nested import unshared
from implicitkit.registry.configs import find_config

MAX_BASES = 16


def load_training(path: str | Path) -> Document:
    """A training configuration from a file, or a shipped one by name, with what its ``base`` holds.

    Raises:
        ConfigError: a file is missing or not YAML, is of another command, or they go round in a circle.

    >>> load_training("liif_small")["batch"]
    8
    """
    file = find_config(path, "train")
    entries = load_yaml(file)
    check_command(entries, "train", file)  # a comparison may have a base too
    document = with_base(entries, file.parent, str(file))
    check_command(document, "train", file)
    return document


def as_training(config: TrainConfig | Mapping[str, Any] | str | Path) -> TrainConfig:
    """A configuration from a file, a shipped one by name, or a mapping; relative paths in it are as they are.

    Raises:
        ConfigError: it is not valid.

    >>> as_training("liif_small").steps
    16500
    """
    if isinstance(config, TrainConfig):
        return config
    if isinstance(config, Document):
        return validate(TrainConfig, config, "config")
    if isinstance(config, Mapping):
        return validate(TrainConfig, with_base(config, Path(), "config"), "config")
    if not isinstance(config, str | Path):
        raise ConfigError(f"a configuration is a file, a mapping or a TrainConfig; received {type(config).__name__}")
    return validate(TrainConfig, load_training(config), str(config))


def with_base(config: Mapping[str, Any], folder: Path, where: str, begun: tuple[Path, ...] = ()) -> Document:
    """``config`` upon what its ``base`` names, a file relative to ``folder``; without one, as it is.

    Mappings are merged entry by entry, except a part that has another ``name`` than the base's, which takes its place;
    so does anything else, lists too. ``null`` takes an entry away, so that its default holds.

    Raises:
        ConfigError: a base is missing or not YAML, or they go round in a circle.
    """
    entries = dict(config)
    own = Places(getattr(config, "places", {}))
    name = entries.pop("base", None)
    if name is None:
        return Document(unshared(entries), own)
    if not isinstance(name, str | Path):
        raise ConfigError(f"{where}: base: the name of another training configuration; received {name!r}")
    file = folder / Path(name).expanduser()
    file = file if file.is_file() else find_config(name, "train") if len(Path(name).parts) == 1 else file
    if file.resolve() in begun or len(begun) >= MAX_BASES:
        raise ConfigError(f"{where}: base: {file} leads back to itself, or through more than {MAX_BASES} files")
    base = with_base(load_yaml(file), file.parent, str(file), (*begun, file.resolve()))
    places = Places({path: at if " of " in at else f"{at} of {file}" for path, at in base.places.items()})
    places.update(own)
    return Document(merged(dict(base), unshared(entries)), places)


def merged(base: Any, own: Any) -> Any:
    """``own`` upon ``base``; see :func:`with_base`.

    >>> merged({"decoder": {"name": "lte", "basis": 8}, "steps": 9}, {"decoder": {"hidden": [8]}, "steps": None})
    {'decoder': {'name': 'lte', 'basis': 8, 'hidden': [8]}}
    >>> merged({"decoder": {"name": "lte", "basis": 8}}, {"decoder": {"name": "liif"}})
    {'decoder': {'name': 'liif'}}
    """
    if isinstance(base, str) and isinstance(own, Mapping) and "name" not in own:
        base = {"name": base}  # a part given by name
    if not (isinstance(base, Mapping) and isinstance(own, Mapping)):
        return own
    if "name" in own and own["name"] != base.get("name", own["name"]):
        return dict(own)
    both = {key: merged(base[key], value) if key in base else value for key, value in own.items()}
    return {key: value for key, value in {**base, **both}.items() if key not in own or own[key] is not None}

"""The configurations that come with implicitkit and with plugins, by name.

A distribution ships them in a folder ``configs`` of its package (in a clone: beside the package): training
configurations in the folder itself, comparisons in ``configs/compare``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from implicitkit.errors import ConfigError, nearest
from implicitkit.files import shipped_folder
from implicitkit.registry.kinds import plugins
from implicitkit.registry.registry import Owner

Command = Literal["train", "compare"]
FOLDERS: dict[Command, str] = {"train": "", "compare": "compare"}


@dataclass(frozen=True)
class ShippedConfig:
    """A configuration that a distribution ships.

    Attributes:
        name: its file's, without suffix.
        command: that takes it.
        file: where it is.
        owner: its distribution.
    """

    name: str
    command: Command
    file: Path
    owner: Owner

    @property
    def summary(self) -> str:
        """The first sentence of the comment at its top."""
        lines = []
        for line in self.file.read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                break
            lines.append(line.strip("# "))
        return " ".join(lines).partition(". ")[0].partition(": ")[0].rstrip(".")


def shipped_configs() -> Iterator[ShippedConfig]:
    """Yield all of them, implicitkit's first.

    >>> [config.name for config in shipped_configs() if config.command == "train"][:2]
    ['fast', 'fast_continued']
    """
    for package, owner in plugins.packages().items():
        for command, folder in FOLDERS.items():
            for file in sorted((shipped_folder("configs", package) / folder).glob("*.yaml")):
                yield ShippedConfig(file.stem, command, file, owner)


def find_config(given: str | Path, command: Command) -> Path:
    """The file of a configuration: ``given`` itself, or the one that is shipped by this name.

    Raises:
        ConfigError: there is neither, or several distributions ship one of this name.

    >>> find_config("quick_liif_lte", "compare").name
    'quick_liif_lte.yaml'
    """
    path = Path(given).expanduser()
    if path.exists() or path.suffix or len(path.parts) != 1:
        return path
    configs = list(shipped_configs())
    matching = [config for config in configs if config.name == str(given)]
    usable = [config for config in matching if config.command == command]
    if len(usable) == 1:
        return usable[0].file
    if usable:
        files = ", ".join(str(config.file) for config in usable)
        raise ConfigError(f"several configurations are called {given}; pass the file: {files}")
    if matching:
        other = matching[0].command
        raise ConfigError(f"{given} is a configuration for `implicitkit {other}`, not for `implicitkit {command}`")
    near = nearest(str(given), [config.name for config in configs if config.command == command])
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"there is no file {given} and no configuration of that name{hint} (implicitkit list configs)")

"""New plugin projects, written from ``templates/plugin``."""

from __future__ import annotations

import re
import tempfile
from importlib.resources import files
from pathlib import Path

from implicitkit.errors import UserError
from implicitkit.version import __version__

NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")


def new_plugin(name: str, into: Path = Path()) -> Path:
    """Write a plugin project that installs and passes its tests; return its folder.

    Args:
        name: lower-case words joined by ``-``. ``"wave"`` makes the distribution ``implicitkit-wave`` with the package
            ``implicitkit_wave`` and the decoder ``wave``.
        into: the folder in which ``implicitkit-NAME`` is made.

    Raises:
        UserError: the name cannot be a package's, a decoder has it already, or the folder exists.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     new_plugin("wave", Path(folder)).name
    'implicitkit-wave'
    """
    from implicitkit.registry.kinds import decoders

    short = name.lower().removeprefix("implicitkit-").removeprefix("implicitkit_").replace("_", "-")
    if not NAME.fullmatch(short):
        raise UserError(f"a plugin's name is words of letters and digits joined by '-', like 'wave'; received {name!r}")
    decoder = short.replace("-", "_")
    if decoder in decoders:
        owner = decoders.find(decoder)[0].owner
        raise UserError(f"a decoder called {decoder!r} is already registered by {owner}; choose another name")
    folder = into / f"implicitkit-{short}"
    if folder.exists():
        raise UserError(f"{folder} exists already; nothing was written")
    if not into.is_dir():
        raise UserError(f"{into} is not a folder")
    words = {
        "DISTRIBUTION": f"implicitkit-{short}",
        "PACKAGE": f"implicitkit_{decoder}",
        "DECODER": decoder,
        "CLASS": "".join(word.capitalize() for word in short.split("-")),
        "VERSION": __version__,
    }
    templates = Path(str(files("implicitkit.registry"))) / "templates" / "plugin"
    with tempfile.TemporaryDirectory(dir=into, prefix=".new-") as scratch:
        project = Path(scratch) / "project"
        for source in sorted(templates.rglob("*.in")):
            target = project / _filled(str(source.relative_to(templates).with_suffix("")), words)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_filled(source.read_text(encoding="utf-8"), words), encoding="utf-8")
        project.rename(folder)
    return folder


def _filled(text: str, words: dict[str, str]) -> str:
    """``text`` with each ``@WORD@`` replaced."""
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text

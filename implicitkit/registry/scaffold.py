"""New plugin projects, written from ``templates/plugin`` and the part's own ``templates/parts/KIND``."""

from __future__ import annotations

import re
import tempfile
from importlib.resources import files
from pathlib import Path

from implicitkit.errors import UserError
from implicitkit.registry.registry import article
from implicitkit.version import __version__

PARTS = {  # kind -> what the written part is, in one line; how it is used
    "decoder": (
        "a local ensemble of small sine networks",
        'model = ik.create_model({"encoder": "edsr_baseline", "decoder": "@NAME@"})',
    ),
    "encoder": ("a few residual blocks", 'model = ik.create_model({"encoder": "@NAME@", "decoder": "liif"})'),
    "neck": (
        "a residual block",
        'model = ik.create_model({"encoder": "edsr_baseline", "neck": "@NAME@", "decoder": "liif"})',
    ),
    "degradation": (
        "bad light: darker and tinted",
        'seen = ik.create_degradation("@NAME@")(ik.read_image("photo.png"))  # seen.image, seen.mask, seen.record',
    ),
    "loss": (
        "L1 in which large differences count more",
        'loss = ik.create_loss("@NAME@")  # in the file of a training: loss: @NAME@',
    ),
    "metric": (
        "the share of pixels that are right",
        'score = ik.create_metric("@NAME@")(prediction, truth)  # on the command line: --metrics @NAME@',
    ),
    "dataset": (
        "stripes, drawn by a formula",
        'pictures = ik.create_dataset("@NAME@")  # in the file of a training: data: {dataset: @NAME@}',
    ),
    "callback": (
        "the norm of a part's weights, in the log",
        'ik.train("my.yaml", callbacks=["@NAME@"])  # in the file of a training: callbacks: @NAME@',
    ),
}
NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")


def new_plugin(name: str, into: Path = Path(), kind: str = "decoder") -> Path:
    """Write a plugin project that installs and passes its tests; return its folder.

    Args:
        name: lower-case words joined by ``-``. ``"wave"`` makes the distribution ``implicitkit-wave`` with the package
            ``implicitkit_wave`` and the part ``wave``.
        into: the folder in which ``implicitkit-NAME`` is made.
        kind: of the part: a key of :data:`PARTS`.

    Raises:
        UserError: the name cannot be a package's, a part of the kind has it already, or the folder exists.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     new_plugin("wave", Path(folder)).name
    'implicitkit-wave'
    """
    from implicitkit.registry import kinds

    if kind not in PARTS:
        raise UserError(f"a plugin is started with one of {', '.join(PARTS)}; received {kind!r}")
    plural = "losses" if kind == "loss" else f"{kind}s"
    registry = getattr(kinds, plural)
    short = name.lower().removeprefix("implicitkit-").removeprefix("implicitkit_").replace("_", "-")
    if not NAME.fullmatch(short):
        raise UserError(f"a plugin's name is words of letters and digits joined by '-', like 'wave'; received {name!r}")
    part = short.replace("-", "_")
    if part in registry:
        owner = registry.find(part)[0].owner
        raise UserError(f"{article(kind)} called {part!r} is already registered by {owner}; choose another name")
    folder = into / f"implicitkit-{short}"
    if folder.exists():
        raise UserError(f"{folder} exists already; nothing was written")
    if not into.is_dir():
        raise UserError(f"{into} is not a folder")
    words = {
        "DISTRIBUTION": f"implicitkit-{short}",
        "USAGE": PARTS[kind][1],  # first: it holds a word of its own
        "PACKAGE": f"implicitkit_{part}",
        "NAME": part,
        "KINDS": plural,
        "KIND": kind,
        "SUMMARY": PARTS[kind][0],
        "CLASS": "".join(word.capitalize() for word in short.split("-")),
        "VERSION": __version__,
    }
    templates = Path(str(files("implicitkit.registry"))) / "templates"
    with tempfile.TemporaryDirectory(dir=into, prefix=".new-") as scratch:
        project = Path(scratch) / "project"
        for within in (templates / "plugin", templates / "parts" / kind):
            _write(within, project, words)
        project.rename(folder)
    return folder


def _write(templates: Path, project: Path, words: dict[str, str]) -> None:
    """Write the files of some templates, their names and texts filled in."""
    for source in sorted(templates.rglob("*.in")):
        target = project / _filled(str(source.relative_to(templates).with_suffix("")), words)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_filled(source.read_text(encoding="utf-8"), words), encoding="utf-8")


def _filled(text: str, words: dict[str, str]) -> str:
    """``text`` with each ``@WORD@`` replaced."""
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text

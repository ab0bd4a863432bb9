"""Write ``docs/api.md``: every public name of ``implicitkit`` with the first sentence of its docstring.

python docs/make_api.py
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import implicitkit as ik
from implicitkit import testing

HEAD = """# The public names

What `import implicitkit as ik` promises, and `implicitkit.testing`. Made by `python docs/make_api.py`.

| name | what it is |
|---|---|
"""
MARKER = "Marks a function of a plugin as its implementation of the hook of that name."


def page() -> str:
    """The page as it should be."""
    rows = [("ik.__version__", "The version, a string.")]
    rows += [(f"ik.{name}", sentence(getattr(ik, name))) for name in ik.__all__ if name != "__version__"]
    rows += [(f"testing.{name}", sentence(getattr(testing, name))) for name in testing.__all__]
    return HEAD + "".join(f"| `{name}` | {text} |\n" for name, text in rows)


def sentence(thing: object) -> str:
    """The first sentence of a docstring, on one line and in Markdown."""
    text = MARKER if thing is ik.hookimpl else inspect.getdoc(thing) or ""
    if not text:
        raise SystemExit(f"{thing!r} has no docstring")
    first = re.split(r"(?<=[.!])\s(?=[A-Z`(])|\n\n", text)[0]
    first = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", " ".join(first.split())).replace("``", "`")
    return first.replace("|", "\\|")


if __name__ == "__main__":
    Path(__file__).with_name("api.md").write_text(page(), encoding="utf-8")

"""Write ``docs/api.md``, every public name with the first sentence of its docstring, and ``docs/public_api.txt``, with
its arguments: what a test compares, so that no name and no argument goes unseen.

python docs/make_api.py
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
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


def snapshot() -> str:
    """Every public name with its arguments and defaults; of a class its own public methods as well."""
    lines: list[str] = []
    for module, prefix in ((ik, "ik"), (testing, "testing")):
        for name in module.__all__:
            lines += described(f"{prefix}.{name}", getattr(module, name))
    return "\n".join(lines) + "\n"


def described(name: str, thing: object) -> list[str]:
    """A function's line, or a class's lines."""
    if not inspect.isclass(thing):
        return [name + (arguments(thing) if callable(thing) and thing is not ik.hookimpl else "")]
    lines = [name if issubclass(thing, Exception) else name + arguments(thing)]
    for attribute, value in sorted(vars(thing).items()):
        if attribute.startswith("_") or issubclass(thing, Exception):
            continue
        value = getattr(value, "__func__", value)  # a class method's function
        if inspect.isfunction(value):
            lines.append(f"{name}.{attribute}{arguments(value)}")
        elif isinstance(value, property):
            lines.append(f"{name}.{attribute}")
    return lines


def arguments(thing: Callable[..., object]) -> str:
    """Names, kinds and defaults, without the types, which may become wider."""
    parameters = [p.replace(annotation=p.empty) for p in inspect.signature(thing).parameters.values()]
    return str(inspect.Signature([p for p in parameters if p.name != "self"]))


if __name__ == "__main__":
    Path(__file__).with_name("public_api.txt").write_text(snapshot(), encoding="utf-8")
    Path(__file__).with_name("api.md").write_text(page(), encoding="utf-8")

"""Write docs/config.md: every key of a training configuration, and of a comparison, with its default and meaning.

python docs/make_config.py
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from implicitkit.config import PartSpec, TrainConfig
from implicitkit.config.comparison import CompareConfig
from implicitkit.config.ranges import USUAL_RANGE, range_of
from implicitkit.config.training import BASE

PAGE = Path(__file__).parent / "config.md"
HEAD = """# Every key of a configuration

Made by `python docs/make_config.py` from the classes that read them; a test compares. [training.md](training.md) and
[compare.md](compare.md) say how they are used.
"""
Row = tuple[str, str, str, str]
PARTS = """
A **part** is a name (`edsr`), or a mapping with `name` and the part's own arguments (`{name: edsr, blocks: 8}`);
`implicitkit list` shows the names. An unknown key, a wrong type or a number out of its range is an error that names the
file, the line, the key, what was received, and the nearest valid key.
"""


def page() -> str:
    """The whole page."""
    lines = [HEAD, "## `implicitkit train`", PARTS, *table(TrainConfig, [("base", "file", "–", BASE)])]
    lines += ["\n## `implicitkit compare`\n", *table(CompareConfig)]
    return "\n".join(lines) + "\n"


def table(kind: type[BaseModel], first: list[tuple[str, str, str, str]] = []) -> list[str]:  # noqa: B006
    """The rows of a configuration."""
    rows = [*first, *rows_of(kind)]
    return ["| key | takes | default | meaning |", "|---|---|---|---|"] + [
        f"| `{key}` | {takes} | {default} | {meaning} |".replace("\n", " ") for key, takes, default, meaning in rows
    ]


def rows_of(
    kind: type[BaseModel], path: str = "", inside: tuple[type, ...] = ()
) -> Iterator[tuple[str, str, str, str]]:
    """Key, what it takes, its default and its meaning; sections are followed by their own keys."""
    for name, field in kind.model_fields.items():
        key = f"{path}{name}"
        section = section_of(field.annotation)
        repeated = typing.get_origin(field.annotation) is dict
        meaning = plain(field.description or "")
        if section is not None and section not in inside:
            meaning = meaning or plain((section.__doc__ or "").strip().partition("\n")[0].rstrip("."))
            yield key, "a section" + (" for each label" if repeated else ""), default_of(field), meaning
            yield from rows_of(section, f"{key}.{'LABEL.' if repeated else ''}", (*inside, kind, section))
        else:
            yield key, takes_of(field.annotation, key), default_of(field), meaning


def plain(text: str) -> str:
    """A meaning as a table's cell holds it."""
    return text.replace("|", "\\|").replace("``", "`")


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that a key holds, if it holds one."""
    for candidate in (annotation, *typing.get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel) and not issubclass(candidate, PartSpec):
            return candidate
    return None


def takes_of(annotation: Any, key: str) -> str:
    """A type in a reader's words, with the range of a number."""
    text = words(annotation)
    low, high = range_of(key.split("."))
    if ("number" in text or "integer" in text) and (low, high) != USUAL_RANGE and "list" not in text:
        text += f", {low:,g} to {high:,g}" if high < 1e6 else f", at least {low:g}"
    return text


def words(annotation: Any) -> str:
    """A type in a reader's words."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is typing.Annotated:
        return words(inner[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(words(one) for one in inner))
    if origin is list:
        one = words(inner[0])
        return f"list of {one}s" if one.isalpha() and one != "text" else f"list of {one}"
    if origin is tuple:
        return f"[{', '.join(words(one) for one in inner if one is not ...)}]"
    if origin is dict:
        return "mapping"
    names = {int: "integer", float: "number", str: "text", bool: "`true`, `false`", Path: "path", type(None): "`null`"}
    if annotation in names:
        return names[annotation]
    return "part" if isinstance(annotation, type) and issubclass(annotation, BaseModel) else "anything"


def default_of(field: Any) -> str:
    """A default as YAML has it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or (isinstance(value, BaseModel) and not isinstance(value, PartSpec)):
        return "–"
    return f"`{as_yaml(value)}`"


def as_yaml(value: Any) -> str:
    """A value on one line of YAML."""
    if isinstance(value, list) and value and all(isinstance(one, PartSpec) for one in value):
        value = [one.name for one in value]
    elif isinstance(value, PartSpec):
        value = value.name
    elif isinstance(value, tuple):
        value = list(value)
    if isinstance(value, str) and not value:
        return '""'
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).replace("\n...", "").strip()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""YAML files, read with limits: no depth, alias or length costs more than a line of an error."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from implicitkit.errors import ConfigError, UserError
from implicitkit.files import CONTENTS, describe_content, read_text
from implicitkit.nested import unshared

MAX_CHARACTERS = 500_000
MAX_DEPTH = 60
MAX_NODES = 50_000  # aliases unfolded
COMMANDS = {"train": {"model", "degradation"}, "compare": {"base", "methods"}}
"""By which keys the configuration of a command is recognised."""
TAG = "tag:yaml.org,2002:"
PLAIN_TAGS = ("null", "bool", "int", "float", "str", "seq", "map", "merge")


class Places(dict[tuple[str, ...], str]):
    """Where entries stand: path -> ``line 7``, or ``--set``. It makes no difference between configurations."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Places)

    __hash__ = None


class Document(dict[str, Any]):
    """A mapping from a file.

    Attributes:
        places: where each entry stands: its path -> ``line 7``, or ``--set``.
    """

    def __init__(self, entries: Mapping[str, Any], places: Places) -> None:
        super().__init__(entries)
        self.places = places


def place(value: Any, path: Sequence[Any]) -> str:
    """Where the entry at ``path`` stands, or the section that lacks it; nothing where that is not known."""
    places = getattr(value, "places", {})
    inside: tuple[str, ...] = ()
    answer = ""
    for part in path:
        if (further := (*inside, str(part))) in places:
            inside, answer = further, places[further]
        elif not isinstance(part, int) and not str(part).isdecimal():  # one degradation is a list of one
            if not any(known[: len(further)] == further for known in places):
                break
            inside = further  # --set has made what it is in
    return answer


@contextmanager
def located(document: Mapping[str, Any], file: str) -> Iterator[None]:
    """Begin the messages of errors about an entry of ``document`` with its file and line."""
    try:
        yield
    except ConfigError as error:
        at = place(document, (error.path or "").split("."))
        raise ConfigError(f"{file}, {at}: {error}" if at else str(error)) from error


def check_command(document: Mapping[str, Any], command: str, file: str | Path) -> None:
    """Raise :class:`ConfigError` if ``document`` is the configuration of another command."""
    for other, keys in COMMANDS.items():
        if other != command and keys <= document.keys() and not COMMANDS[command] <= document.keys():
            raise ConfigError(f"{file} is a configuration of `implicitkit {other}`; run `implicitkit {other} {file}`")


class Loader(yaml.SafeLoader):
    """YAML in which ``1e-3`` is a number and 2020-01-01 is text, as in YAML 1.2; without tags, and with limits."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _problem(f"more than {MAX_DEPTH} levels inside each other", self.peek_event())  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        if node is not None:
            _measure(node, {}, set(), 1)
        return node


NUMBERS = {  # 010 is not 8, nor 1:30 90, as in YAML 1.1
    f"{TAG}int": re.compile(r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$"),
    f"{TAG}float": re.compile(
        r"([-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)[eE][-+]?[0-9]+|[-+]?([0-9][0-9_]*\.[0-9]*|\.[0-9]+)"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
    ),
}
Loader.yaml_implicit_resolvers = {
    letter: [(tag, NUMBERS.get(tag, pattern)) for tag, pattern in pairs if tag.removeprefix(TAG) in PLAIN_TAGS]
    for letter, pairs in Loader.yaml_implicit_resolvers.items()
}
Loader.yaml_constructors = {
    tag: construct
    for tag, construct in Loader.yaml_constructors.items()
    if not tag or tag.removeprefix(TAG) in PLAIN_TAGS
}


def _problem(text: str, node: Any) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=node.start_mark)


def _measure(node: Any, known: dict[int, tuple[int, int]], open_nodes: set[int], level: int) -> tuple[int, int]:
    """The number of nodes in ``node`` with its aliases unfolded, and their depth.

    Raises:
        yaml.YAMLError: there are too many, a node holds itself, or a key is given twice.
    """
    if isinstance(node, yaml.ScalarNode):
        return 1, 1
    if id(node) in open_nodes:
        raise _problem("an alias holds itself", node)
    if id(node) not in known:
        if level > MAX_DEPTH:
            raise _problem(f"more than {MAX_DEPTH} levels inside each other", node)
        open_nodes.add(id(node))
        inner = node.value
        if isinstance(node, yaml.MappingNode):
            keys: dict[tuple[str, str], Any] = {}
            for key, _ in node.value:
                first = keys.setdefault((key.tag, key.value), key) if isinstance(key, yaml.ScalarNode) else key
                if first is not key:
                    line = first.start_mark.line + 1
                    raise _problem(f"the key {_short(key.value)} is given twice, first in line {line}", key)
            inner = [part for pair in node.value for part in pair]
        sizes = [_measure(part, known, open_nodes, level + 1) for part in inner]
        known[id(node)] = 1 + sum(size for size, _ in sizes), 1 + max((depth for _, depth in sizes), default=0)
        open_nodes.remove(id(node))
    nodes, depth = known[id(node)]
    if nodes > MAX_NODES:
        raise _problem(f"more than {MAX_NODES:,} entries (aliases are unfolded)", node)
    if level + depth > MAX_DEPTH + 1:
        raise _problem(f"more than {MAX_DEPTH} levels inside each other", node)
    return nodes, depth


def _places(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(node, yaml.MappingNode):
        pairs = [(key.value, key, inner) for key, inner in node.value if isinstance(key, yaml.ScalarNode)]
    elif isinstance(node, yaml.SequenceNode):
        pairs = [(str(k), inner, inner) for k, inner in enumerate(node.value)]
    else:
        return
    for name, stands, inner in pairs:
        yield (*path, name), f"line {stands.start_mark.line + 1}"
        yield from _places(inner, (*path, name))


def parse(text: str, where: str) -> tuple[Any, Places]:
    r"""The value of a YAML text, and where its entries stand.

    Raises:
        ConfigError: it is not YAML, is too long, too deep or holds itself, or a key is given twice.

    >>> parse("data:\n  patch: 48", "c.yaml")
    ({'data': {'patch': 48}}, {('data',): 'line 1', ('data', 'patch'): 'line 2'})
    """
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"{where} has {len(text):,} characters; a configuration has at most {MAX_CHARACTERS:,}")
    try:
        loader = Loader(text)
        node = loader.get_single_node()
        value = None if node is None else loader.construct_document(node)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        at = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise ConfigError(f"{where}{at} is not YAML that can be used: {_short(problem, 200)}") from None
    return value, Places(_places(node))


def load_yaml(path: str | Path) -> Document:
    """A YAML mapping from a file."""
    try:
        text = read_text(path, MAX_CHARACTERS + 1)
    except UserError as error:
        raise ConfigError(str(error)) from None
    content = describe_content(path)
    if text and content not in (None, "a text file", CONTENTS[b"{"]):
        raise ConfigError(f"{path} is {content}; a configuration is a YAML file")
    value, places = parse(text, str(path))
    if not isinstance(value, dict):
        raise ConfigError(f"{path} must hold a mapping at its top; received {type(value).__name__}")
    return Document(unshared(value), places)


def apply_settings(config: dict[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Set each ``key.sub=value`` in ``config``; values are YAML.

    >>> apply_settings({"optimiser": {"lr": 1}}, ["optimiser.lr=1e-4", "model.encoder=edsr"])
    {'optimiser': {'lr': 0.0001}, 'model': {'encoder': 'edsr'}}
    """
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not all(path.split(".")):
            raise ConfigError(f"--set takes key.sub=value; received {setting!r}")
        try:
            value = unshared(parse(text, f"--set {path}")[0])
        except ConfigError:
            raise ConfigError(f"--set {path}: {_short(text)} is not YAML that can be used") from None
        set_entry(config, path.split("."), value, f"--set {path}")
        if isinstance(config, Document):
            config.places[tuple(path.split("."))] = "--set"
    return config


def set_entry(config: dict[str, Any], path: Sequence[str], value: Any, where: str) -> None:
    """Set the entry at ``path``; a part that is given by name becomes a mapping with that name.

    Raises:
        ConfigError: it lies in what has no entries; the message begins with ``where``.

    >>> config = {"model": {"decoder": "liif"}}
    >>> set_entry(config, ["model", "decoder", "hidden"], [8], "a test")
    >>> config
    {'model': {'decoder': {'name': 'liif', 'hidden': [8]}}}
    """
    *parents, last = path
    at = config
    for key in parents:
        inner = at.get(key)
        if isinstance(inner, str):  # a part given by name
            inner = {"name": inner}
        elif inner is None:
            inner = {}
        elif not isinstance(inner, dict):
            raise ConfigError(f"{where}: {key!r} holds {inner!r}, which has no entries of its own")
        at[key] = inner
        at = inner
    at[last] = value


def _short(value: Any, length: int = 60) -> str:
    text = value if length > 60 else repr(value)
    return text if len(text) <= length else text[: length - 3] + "..."

"""Registries: encoders, decoders, degradations, models, losses, metrics and protocols by name.

A registry maps a ``snake_case`` name to a factory. Look-up folds case and ``-``/``_`` up to the first ``:``; the
factory gets the text behind a colon verbatim (``timm:hf-hub:Org/Name-x``).
"""

from __future__ import annotations

import fnmatch
import importlib
import inspect
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar, cast

from implicitkit.errors import (
    DuplicateNameError,
    PluginError,
    UnknownNameError,
    UserError,
    describe,
    nearest,
    text_of,
)
from implicitkit.registry.arguments import check_arguments, parameter_names

T = TypeVar("T")

LOADING_LOCK = threading.RLock()  # one for all registries, which one load fills
NAME = re.compile(r"[a-z0-9][a-z0-9_.]*:?")


@dataclass(frozen=True)
class Owner:
    """The distribution that registered an entry."""

    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".strip()


NO_DISTRIBUTION = "(no distribution)"
DEFAULT_OWNER = Owner("the running program", NO_DISTRIBUTION)


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One registered factory."""

    name: str
    factory: Callable[..., T] | str
    """A callable, or ``"module:attribute"``, imported at first use."""
    owner: Owner
    summary: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    expand: Callable[[], Iterable[str]] | str | None = None
    """For a name with a trailing colon: lists the names behind it (or its ``"module:attribute"``)."""

    def resolve(self) -> Callable[..., T]:
        """The factory itself."""
        return _imported(self.factory)

    def matching(self, glob: str) -> list[Entry[T]]:
        """The entry, if its name matches; for a pattern that continues behind its colon, the names it expands to."""
        if self.expand is not None and glob.startswith(self.name) and glob != self.name:
            names = fnmatch.filter(sorted(self.name + tail for tail in _imported(self.expand)()), glob)
            return [replace(self, name=name, summary="", expand=None) for name in names]
        return [self] if fnmatch.fnmatchcase(self.name, glob) else []


def fold(name: str) -> str:
    """The canonical spelling of a name: lower case and ``_`` for ``-``, up to the first colon.

    >>> fold("EDSR-Baseline"), fold("TIMM:resnet-18")
    ('edsr_baseline', 'timm:resnet-18')
    """
    head, colon, tail = name.partition(":")
    return head.lower().replace("-", "_") + colon + tail


class Registry(Generic[T]):
    """Entries of one kind.

    Args:
        kind: ``"encoder"``, ``"decoder"``, ...
        load: called at every look-up; fills the registry the first time.
        where: text for errors: who filled the registry.

    >>> registry = Registry("decoder")
    >>> entry = registry.register("flat", dict, summary="an example")
    >>> registry.names("f*"), "Flat" in registry
    (['flat'], True)
    """

    def __init__(
        self, kind: str, load: Callable[[], None] | None = None, where: Callable[[], str] | None = None
    ) -> None:
        self.kind = kind
        self._entries: dict[str, Entry[T]] = {}
        self._load = load
        self._where = where

    def register(
        self,
        name: str,
        factory: Callable[..., T] | str,
        *,
        owner: Owner | None = None,
        summary: str = "",
        metadata: Mapping[str, Any] | None = None,
        expand: Callable[[], Iterable[str]] | str | None = None,
        replace: bool = False,
    ) -> Entry[T]:
        """Add an entry.

        Args:
            name: ``snake_case``; with a trailing colon it claims every name that begins so, and the rest is the
                factory's first argument.
            factory: a callable or ``"module:attribute"``.
            owner: its distribution (default: the running program).
            summary: one line for ``implicitkit list``.
            metadata: anything to filter by; ``docs/plugins.md`` lists the keys of models.
            expand: for a name with a trailing colon, lists what may follow it (a callable or ``"module:attribute"``);
                called only for a pattern that begins with the name.
            replace: replace an entry of the same name and owner.

        Raises:
            DuplicateNameError: the name is taken; the registry is unchanged.
            ValueError: the name is not ``snake_case``.
        """
        if not NAME.fullmatch(name):
            raise ValueError(
                f"a registry name is snake_case letters, digits and dots (and one trailing ':'); received {name!r}"
            )
        if not callable(factory) and not (isinstance(factory, str) and ":" in factory):
            raise TypeError(
                f"the factory of {self.kind} {name!r} is a callable or 'module:attribute'; received {factory!r}"
            )
        if expand is not None and not name.endswith(":"):
            raise ValueError(f"only a name that ends in ':' takes expand; received {name!r}")
        self.load()  # the built-ins come first, so that a second owner gets the error
        entry = Entry(name, factory, owner or DEFAULT_OWNER, summary, dict(metadata or {}), expand)
        taken = self._entries.get(name)
        if taken is not None and not (replace and taken.owner == entry.owner):
            hint = "; replace=True registers the new one" if taken.owner == entry.owner else ""
            raise DuplicateNameError(
                f"{self.kind} {name!r} of {entry.owner} is already registered by {taken.owner}{hint}"
            )
        self._entries[name] = entry
        return entry

    def find(self, name: str) -> tuple[Entry[T], tuple[str, ...]]:
        """The entry of ``name``, and its factory's first arguments: ``()``, or the text behind the colon."""
        self.load()
        if not isinstance(name, str):
            raise TypeError(f"the name of {article(self.kind)} is a string; received {name!r}")
        folded = fold(name)
        if folded in self._entries and not folded.endswith(":"):
            return self._entries[folded], ()
        head, colon, tail = folded.partition(":")
        if colon and tail and head + ":" in self._entries:
            return self._entries[head + ":"], (tail,)
        raise UnknownNameError(self._unknown(name, folded))

    def create(self, name: str, /, **arguments: Any) -> T:
        """Build ``name``; an unknown argument is an error that lists the known ones."""
        entry, first = self.find(name)
        factory = self.resolve(entry)
        return self.build(entry, *first, **check_arguments(f"{self.kind} {name!r}", factory, first, arguments))

    def build(self, entry: Entry[T], /, *first: str, **arguments: Any) -> T:
        """Call the factory of ``entry``.

        Raises:
            PluginError: it raises what is neither the user's mistake (UserError, ValueError) nor a machine's limit.
        """
        factory = self.resolve(entry)
        try:
            return factory(*first, **arguments)
        except (UserError, ValueError, MemoryError, OSError):
            raise
        except BaseException as error:
            if type(error) is KeyboardInterrupt or "out of memory" in text_of(error) or "allocate" in text_of(error):
                raise
            raise PluginError(
                f"{self.kind} {entry.name!r} of {entry.owner} cannot be built: {describe(error)}"
            ) from error

    def options(self, name: str) -> list[str] | None:
        """The arguments of ``name`` in a spec; None if it takes any."""
        entry, first = self.find(name)
        return parameter_names(self.resolve(entry), len(first))

    def defaults(self, name: str) -> dict[str, Any]:
        """The arguments of ``name`` that have a default, and their defaults."""
        entry, first = self.find(name)
        try:
            parameters = list(inspect.signature(self.resolve(entry)).parameters.values())[len(first) :]
        except (TypeError, ValueError):  # a builtin without a signature
            return {}
        return {p.name: p.default for p in parameters if p.default is not p.empty}

    def canonical(self, name: str) -> str:
        """``name`` as it was registered, with what is behind its colon."""
        entry, first = self.find(name)
        return entry.name + "".join(first)

    def resolve(self, entry: Entry[T]) -> Callable[..., T]:
        """The factory of an entry.

        Raises:
            PluginError: it cannot be imported.
        """
        try:
            return entry.resolve()
        except BaseException as error:  # a module may exit when imported
            if type(error) is KeyboardInterrupt:
                raise
            raise PluginError(
                f"{self.kind} {entry.name!r} of {entry.owner} cannot be loaded: {describe(error)}"
            ) from error

    def names(self, pattern: str | None = None, **metadata: Any) -> list[str]:
        """Sorted names that match the shell-style ``pattern`` and the metadata; True and False match any value that is,
        or is not, set. A family (``timm:``) is one name, unless the pattern continues behind its colon
        (``timm:*vit*``).
        """
        return [entry.name for entry in self.entries(pattern, **metadata)]

    def entries(self, pattern: str | None = None, **metadata: Any) -> list[Entry[T]]:
        """Like :meth:`names`, with owner, summary and metadata."""
        self.load()
        glob = fold(pattern) if pattern else "*"
        return [
            match
            for _, entry in sorted(self._entries.items())
            if all(_has(entry, key, value) for key, value in metadata.items())
            for match in entry.matching(glob)
        ]

    def load(self) -> None:
        """Fill the registry; other threads wait."""
        if self._load is not None:
            with LOADING_LOCK:
                self._load()

    def staged(self) -> Registry[T]:
        """A copy to register into before :meth:`commit`."""
        copy: Registry[T] = Registry(self.kind)
        copy._entries = dict(self._entries)
        return copy

    def commit(self, staged: Registry[T]) -> list[str]:
        """Take over the new entries of a staged copy; return their names."""
        added = {name: entry for name, entry in staged._entries.items() if self._entries.get(name) is not entry}
        self._entries.update(added)
        return sorted(added)

    def discard(self, names: Iterable[str]) -> None:
        """Forget some entries."""
        for name in names:
            self._entries.pop(name, None)

    def clear(self) -> None:
        """Forget all entries, as if nothing had been loaded."""
        self._entries.clear()

    def __contains__(self, name: str) -> bool:
        try:
            self.find(name)
        except UnknownNameError:
            return False
        return True

    def _unknown(self, name: str, folded: str) -> str:
        if folded in self._entries:  # a family: timm:
            return f"{self.kind} {name!r} needs a name behind its colon; list {name}* to see them"
        near = nearest(folded, self._entries, count=3)
        hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
        known = ", ".join(sorted(self._entries)) or "nothing"
        where = f"; {self._where()}" if self._where else ""
        return f"unknown {self.kind} {name!r}{hint} (registered: {known}{where})"


def _has(entry: Entry[Any], key: str, value: Any) -> bool:
    stored = entry.metadata.get(key)
    return bool(stored) == value if isinstance(value, bool) else stored == value


def _imported(target: Callable[..., T] | str) -> Callable[..., T]:
    """A callable, given as itself or as ``"module:attribute"``."""
    if callable(target):
        return target
    module, _, attribute = target.partition(":")
    return cast("Callable[..., T]", getattr(importlib.import_module(module), attribute))


def article(noun: str) -> str:
    """The noun with its article."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"

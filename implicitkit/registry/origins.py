"""Which distributions the parts of a model come from: written into its file, and said where one is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from implicitkit.errors import ConfigError, UnknownNameError
from implicitkit.registry.kinds import SESSION, decoders, encoders, necks, plugins
from implicitkit.registry.plugins import VARIABLE
from implicitkit.registry.registry import NO_DISTRIBUTION, Registry

OUR_DISTRIBUTION = "implicitkit"
BY_HAND = "(registered by hand)"
OWN_FIRST = "ik.create_{}(...) (register the class first if it is your own)"
NO_NAMES = ("output", "folders", "weights", "trained_on", "license")  # of a configuration's entries


def origins_of(spec: Mapping[str, Any]) -> dict[str, str]:
    """The parts of a model's spec, conditions included, that other distributions bring: part -> distribution.

    >>> origins_of({"encoder": "edsr", "decoder": {"name": "liif"}})
    {}
    """
    origins = {}
    for kind, name in _parts(spec):
        try:
            owner = REGISTRIES[kind].find(name)[0].owner
        except UnknownNameError:  # a plugin that was unregistered meanwhile
            continue
        if owner.distribution != OUR_DISTRIBUTION:
            origins[f"{kind} {name}"] = str(owner)
    return origins


def missing(origins: Mapping[str, str]) -> str:
    """What to install for the parts that are not registered here, in words; empty if all are.

    >>> missing({"decoder wave": "implicitkit-wave 0.1.0", "decoder liif": "implicitkit 0.1.0"})
    "its decoder 'wave' comes from implicitkit-wave 0.1.0, which is not here: pip install implicitkit-wave"
    """
    absent: dict[str, list[str]] = {}
    for part, owner in origins.items():
        kind, _, name = part.partition(" ")
        if kind in REGISTRIES and name not in REGISTRIES[kind]:
            absent.setdefault(owner, []).append(f"{kind} {name!r}")
    clauses = []
    for owner, parts in absent.items():
        distribution, _, version = owner.partition(" ")
        many = len(parts) > 1
        if version == NO_DISTRIBUTION:  # what pip has under this name is something else
            how = f"{'come' if many else 'comes'} from the module {distribution}, which is not here: add it (or "
            how += f"{distribution}:OBJECT) to {VARIABLE}, and its folder to PYTHONPATH"
        elif version and not version.endswith((BY_HAND, NO_DISTRIBUTION)) and distribution != "this":
            how = f"{'come' if many else 'comes'} from {owner}, which is not here: pip install {distribution}"
        else:
            where = owner.removesuffix(BY_HAND).removesuffix(NO_DISTRIBUTION).strip()
            how = f"{'were' if many else 'was'} registered by hand in {where}; register it before loading"
        clauses.append(f"its {' and '.join(parts)} {how}")
    return "; ".join(clauses)


def how_to_create(kind: str, part: type) -> str:
    """The call that builds a part by name, in words.

    >>> from implicitkit.encoders.edsr import EDSR
    >>> how_to_create("encoder", EDSR)
    'ik.create_encoder(...) (register the class first if it is your own)'
    """
    named = [entry.name for entry in REGISTRIES[kind].entries() if entry.factory is part]
    return f"ik.create_{kind}({named[0]!r})" if named else OWN_FIRST.format(kind)


def by_hand(config: Mapping[str, Any]) -> list[str]:
    """What a configuration names that was registered by hand, and so is in this process alone: ``["metric 'wave'"]``.

    >>> by_hand({"model": {"decoder": {"name": "liif"}}, "loss": ["l1"]})
    []
    """
    mine = {
        entry.name: f"{registry.kind} {entry.name!r}"
        for registry in plugins.registries.values()
        for entry in registry.entries()
        if entry.owner == SESSION or entry.owner.version == BY_HAND
    }
    return sorted({mine[word] for word in _words(config) if word in mine}) if mine else []


def check_processes_have(configs: Iterable[Mapping[str, Any]]) -> None:
    """Raise :class:`ConfigError` if runs name what is registered in this process alone: each is a process of its own.

    >>> check_processes_have([{"loss": "l1"}])
    """
    if absent := sorted({part for config in configs for part in by_hand(config)}):
        raise ConfigError(
            f"{' and '.join(absent)}: registered by hand, in this process alone, and each run of a comparison is a "
            f"process of its own; write hooks in a module and its name into os.environ[{VARIABLE!r}], or make a plugin"
        )


def _words(value: Any) -> Iterator[str]:
    """All texts in nested mappings and lists that may be names: not those that are paths or prose."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            if key not in NO_NAMES:
                yield from _words(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _words(entry)


REGISTRIES: dict[str, Registry[Any]] = {"encoder": encoders, "neck": necks, "decoder": decoders}


def _parts(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The kinds and names of all parts of a spec."""
    for kind in REGISTRIES:
        given = spec.get(kind) or []
        for part in given if isinstance(given, list) else [given]:
            name = part.get("name") if isinstance(part, Mapping) else part
            if isinstance(name, str):
                yield kind, name
    for condition in (spec.get("conditions") or {}).values():
        yield from _parts(condition)

"""The registries, one per kind, and their plugins."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from implicitkit.errors import PluginError
from implicitkit.registry.arguments import check_arguments
from implicitkit.registry.plugins import Plugins
from implicitkit.registry.registry import Entry, Owner, Registry, article

SESSION = Owner("this session", "")
"""The owner of entries registered at a prompt or in a notebook."""


def _built_in() -> Any:
    from implicitkit.registry import builtin

    return builtin


def _registry(kind: str) -> Registry[Any]:
    return Registry(kind, lambda: plugins.load(), lambda: plugins.where())


# The entries' types (Encoder, Decoder, ...) are defined further up; finding a name needs none of them.
encoders = _registry("encoder")
necks = _registry("neck")
decoders = _registry("decoder")
degradations = _registry("degradation")
models: Registry[dict[str, Any]] = _registry("model")
losses: Registry[Callable[..., Any]] = _registry("loss")
metrics = _registry("metric")
protocols = _registry("protocol")
datasets = _registry("dataset")
optimisers = _registry("optimiser")
schedules = _registry("schedule")
callbacks = _registry("callback")
tabs = _registry("tab")
weights = _registry("weight file")

plugins = Plugins(
    {
        "register_encoders": encoders,
        "register_necks": necks,
        "register_decoders": decoders,
        "register_degradations": degradations,
        "register_models": models,
        "register_losses": losses,
        "register_metrics": metrics,
        "register_protocols": protocols,
        "register_datasets": datasets,
        "register_optimisers": optimisers,
        "register_schedules": schedules,
        "register_callbacks": callbacks,
        "register_tabs": tabs,
        "register_weights": weights,
    },
    _built_in,
)


def parse_part(part: str | Mapping[str, Any], kind: str) -> tuple[str, dict[str, Any]]:
    """``"name"`` or ``{"name": ..., **arguments}`` as ``(name, arguments)``."""
    if isinstance(part, str):
        return part, {}
    if isinstance(part, Mapping) and isinstance(part.get("name"), str):
        return part["name"], {key: value for key, value in part.items() if key != "name"}
    raise ValueError(f"{kind} is a name or a mapping with a 'name'; received {part!r}")


def create_part(registry: Registry[Any], part: str | Mapping[str, Any], /, **arguments: Any) -> Any:
    """Build a part by name or spec, and set ``part.spec``."""
    name, given = parse_part(part, f"the {registry.kind}")
    entry, first = registry.find(name)
    factory = registry.resolve(entry)
    checked = check_arguments(f"{registry.kind} {name!r}", factory, first, {**given, **arguments})
    built = registry.build(entry, *first, **checked)
    try:
        built.spec = {"name": entry.name + "".join(first), **checked}
    except AttributeError:
        raise PluginError(
            f"{registry.kind} {entry.name!r} of {entry.owner} gave {type(built).__name__}, which cannot hold its spec; "
            f"its factory must return {article(registry.kind)}"
        ) from None
    return built


def named_spec(entry: Entry[Any], *first: str) -> dict[str, Any]:
    """The spec of a named model.

    Raises:
        PluginError: its factory fails, or gives no mapping.
    """
    spec = models.build(entry, *first)
    if not isinstance(spec, Mapping):
        raise PluginError(
            f"model {entry.name!r} of {entry.owner} gave {type(spec).__name__}; its factory must return a spec, "
            "a mapping with an encoder and a decoder"
        )
    return dict(spec)


def enrol(
    registry: Registry[Any],
    name: str,
    factory: Callable[..., Any] | str | None = None,
    *,
    summary: str = "",
    metadata: Mapping[str, Any] | None = None,
    replace: bool = False,
) -> Any:
    """Register ``factory`` from the running program, or return a decorator that does.

    The owner is the module two calls up; at a prompt, in a notebook or in a script it is ``this session``. The default
    summary is the first line of the factory's docstring.

    Raises:
        DuplicateNameError: the name is taken, and not by the same owner with ``replace``; the registry is unchanged.
    """
    module = str(sys._getframe(2).f_globals.get("__name__", "__main__"))
    owner = SESSION if module == "__main__" else Owner(module, "(registered by hand)")

    def register(factory: Callable[..., Any] | str) -> Any:
        described = (factory.__doc__ or "").strip().partition("\n")[0] if callable(factory) else ""
        registry.register(name, factory, owner=owner, summary=summary or described, metadata=metadata, replace=replace)
        return factory

    return register if factory is None else register(factory)


def shipped_file(entry: Entry[Any]) -> Path:
    """The path of a named model's weights: ``package:path`` in its metadata. The file may be missing.

    Raises:
        PluginError: the metadata is not ``package:path``, or the package cannot be imported.
    """
    stored = entry.metadata["pretrained"]
    package, colon, path = stored.partition(":") if isinstance(stored, str) else ("", "", "")
    if not (package and colon and path):
        raise PluginError(
            f"model {entry.name!r} of {entry.owner} says that its weights are {stored!r}; its metadata names them as "
            "'package:path', such as 'my_package:weights/mine.safetensors'"
        )
    try:
        return Path(str(files(package).joinpath(path)))
    except (ImportError, TypeError) as error:  # a TypeError: a module that is no package
        raise PluginError(f"the weights of model {entry.name!r} of {entry.owner} cannot be found: {error}") from error

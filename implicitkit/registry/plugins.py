"""Who fills the registries: the built-ins first, then every plugin, each alone and all or nothing.

Plugins are found by the entry point group ``implicitkit``, by ``IMPLICITKIT_PLUGINS`` and by :func:`register_plugin`,
and loaded at the first look-up. pluggy says what a plugin implements and calls it; its own discovery and multi-call
are not used, since they stop at the first exception and one broken plugin would take the others with it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from implicitkit import hookspecs
from implicitkit.errors import DuplicateNameError, PluginError, PluginWarning, first_line, nearest
from implicitkit.hookspecs import PROJECT
from implicitkit.registry.commands import COMMANDS
from implicitkit.registry.registry import LOADING, Owner, Registry
from implicitkit.version import __version__

if TYPE_CHECKING:
    import typer

VARIABLE = "IMPLICITKIT_PLUGINS"
STRICT = "IMPLICITKIT_PLUGINS_STRICT"
HOOKS = tuple(sorted(name for name in vars(hookspecs) if name.startswith("register_")))
BY_HAND = "register_plugin"
PARAMETERS = {name: tuple(inspect.signature(getattr(hookspecs, name)).parameters) for name in HOOKS}
OURS = Owner("implicitkit", __version__)


@dataclass
class Plugin:
    """One plugin, and what became of loading it.

    Attributes:
        name: the entry point's name, ``module:attribute``, or what :func:`register_plugin` was given.
        owner: the distribution it came with.
        source: how it was found.
        provides: names registered, per kind (``{"decoder": ["mine"], "command": ["my-command"]}``).
        seconds: how long importing and registering took.
        error: one line, if it failed; nothing of it is then registered.
        traceback: the whole story of that.
        commands: a typer application holding its sub-commands, if it has any.
    """

    name: str
    owner: Owner
    source: str
    provides: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""
    traceback: str = ""
    commands: typer.Typer | None = None

    def __str__(self) -> str:
        return str(self.owner) if self.name == self.owner.distribution else f"{self.name} of {self.owner}"


@dataclass(frozen=True)
class Found:
    """A plugin that has been found and not yet loaded."""

    name: str
    owner: Owner
    source: str
    load: Callable[[], Any]


class Plugins:
    """Loads plugins into ``registries`` (hook name -> registry); :meth:`load` may be called any number of times."""

    def __init__(self, registries: Mapping[str, Registry[Any]], built_in: Callable[[], Any]) -> None:
        self.registries = registries
        self.loaded: list[Plugin] = []
        self._implementations: dict[int, Any] = {}
        self._built_in = built_in
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._state = "unloaded"

    def load(self) -> None:
        """Load the built-ins and every plugin that can be found, once.

        A plugin that fails is recorded and warned about; the others are not affected.

        Raises:
            PluginError: one failed, and ``IMPLICITKIT_PLUGINS_STRICT`` is set.
        """
        with LOADING:
            if self._state == "loading":  # a plugin looks something up while it is being loaded
                return
            if self._state == "unloaded":
                self._state = "loading"
                try:
                    ours = Found("implicitkit", OURS, "built in", self._built_in)
                    self._attempt(ours, reraise=True)
                    for found in find_plugins(os.environ.get(VARIABLE, "")):
                        self._attempt(found)
                except BaseException:
                    self._forget()
                    raise
                self._state = "loaded"
            if self.failed and is_strict():
                raise PluginError(f"plugins failed to load, and {STRICT} is set: {describe(self.failed)}")

    def add(self, plugin: Any, name: str | None = None) -> Plugin:
        """Load ``plugin`` now; see :func:`register_plugin`."""
        self.load()
        name = name or getattr(plugin, "__name__", None) or type(plugin).__name__
        version = str(getattr(plugin, "__version__", "(registered by hand)"))
        with LOADING:
            return self._attempt(Found(name, Owner(name, version), BY_HAND, lambda: plugin), reraise=True)

    def remove(self, plugin: Plugin) -> None:
        """Take back what ``plugin`` registered; see :func:`implicitkit.registry.kinds.unregister_plugin`."""
        with LOADING:
            if plugin not in self.loaded or plugin.source != BY_HAND:
                raise PluginError(f"{plugin} was not registered by register_plugin, so it cannot be unregistered")
            for registry in self.registries.values():
                registry.discard(plugin.provides.get(registry.kind, ()))
            self._manager.unregister(self._implementations.pop(id(plugin)))
            self.loaded = [other for other in self.loaded if other is not plugin]

    @property
    def failed(self) -> list[Plugin]:
        """Those that could not be loaded."""
        return [plugin for plugin in self.loaded if plugin.error]

    def versions(self) -> dict[str, str]:
        """The distributions that plugins are of, with their versions; implicitkit itself is left out."""
        self.load()
        owners = [p.owner for p in self.loaded if p.source != "built in" and not p.error]
        return dict(sorted((owner.distribution, owner.version) for owner in owners))

    def where(self) -> str:
        """Where a look-up has looked, for error messages: who filled the registries, and who failed to."""
        looked = ", ".join(str(plugin.owner) for plugin in self.loaded if not plugin.error)
        failures = f"; plugins that failed to load: {describe(self.failed)}" if self.failed else ""
        return f"looked in {looked}{failures}"

    def _attempt(self, found: Found, reraise: bool = False) -> Plugin:
        """Load one plugin: everything it registers goes to copies, which are taken over if it got to its end."""
        plugin = Plugin(found.name, found.owner, found.source)
        started = time.perf_counter()
        try:
            implementation = found.load()
            if self._manager.is_registered(implementation) and not reraise:
                return plugin  # found in two ways: once is enough
            self._fill(plugin, implementation)
            self._implementations[id(plugin)] = implementation
        except (Exception, SystemExit) as error:  # a module that calls exit() when imported is broken too
            if reraise:
                raise
            kind = type(error).__name__
            plugin.error = f"{kind}: {first_line(error)}" if str(error).strip() else kind
            plugin.traceback = traceback.format_exc()
            plugin.provides, plugin.commands = {}, None
            if not is_strict():  # there, load() raises
                warnings.warn(f"plugin {plugin} failed to load: {plugin.error}", PluginWarning, stacklevel=2)
        plugin.seconds = time.perf_counter() - started
        self.loaded.append(plugin)
        return plugin

    def _fill(self, plugin: Plugin, implementation: Any) -> None:
        _refuse_misnamed(implementation)
        if self._manager.is_registered(implementation):
            raise PluginError(f"{plugin} is registered already (ik.unregister_plugin takes it back)")
        self._manager.register(implementation, f"{plugin} ({id(implementation)})")  # checks the hooks' signatures
        try:
            implemented = {caller.name for caller in self._manager.get_hookcallers(implementation) or ()}
            if not implemented:
                raise PluginError(f"it implements no hook (they are: {', '.join(HOOKS)})")
            staged = {hook: registry.staged() for hook, registry in self.registries.items() if hook in implemented}
            for hook, copy in staged.items():
                self._call(hook, implementation, register=partial(copy.register, owner=plugin.owner))
            if "register_commands" in implemented:
                import typer

                plugin.commands = typer.Typer()
                self._call("register_commands", implementation, app=plugin.commands)
                plugin.provides["command"] = command_names(plugin.commands)
                self._refuse_taken_commands(plugin)
            for hook, copy in staged.items():
                added = self.registries[hook].commit(copy)
                plugin.provides[copy.kind] = added
        except BaseException:
            self._manager.unregister(implementation)
            raise

    def _refuse_taken_commands(self, plugin: Plugin) -> None:
        taken = dict.fromkeys(COMMANDS, str(OURS))
        for other in self.loaded:
            taken |= dict.fromkeys(other.provides.get("command", ()), str(other.owner))
        for name in plugin.provides["command"]:
            if name in taken:
                raise DuplicateNameError(f"command {name!r} of {plugin.owner} is already registered by {taken[name]}")

    def _call(self, hook: str, implementation: Any, **arguments: Any) -> None:
        """Call one plugin's implementation of one hook."""
        others = [p for p in self._manager.get_plugins() if p is not implementation]
        self._manager.subset_hook_caller(hook, others)(**arguments)

    def _forget(self) -> None:
        """Return to the beginning after a load that was cut off, so that the next look-up starts afresh."""
        for plugin in self._manager.get_plugins():
            self._manager.unregister(plugin)
        for registry in self.registries.values():
            registry.clear()
        self.loaded.clear()
        self._implementations.clear()
        self._state = "unloaded"


def find_plugins(variable: str) -> Iterator[Found]:
    """What there is to load, in a fixed order: entry points by name, then those that ``variable`` names.

    Args:
        variable: the value of ``IMPLICITKIT_PLUGINS``: ``module`` or ``module:attribute``, separated by commas.
            ``none`` among them leaves the entry points out.
    """
    named = [part.strip() for part in variable.split(",") if part.strip()]
    named = ["none" if part.lower() == "none" else part for part in named]
    if "none" not in named:
        points = importlib.metadata.entry_points(group=PROJECT)
        for point in sorted(points, key=lambda p: (p.name, p.value)):
            owner = Owner(point.dist.name, point.dist.version) if point.dist else Owner(point.name, "(no distribution)")
            yield Found(point.name, owner, "entry point", point.load)
    for name in named:
        if name != "none":
            yield Found(name, _owner_of(name.partition(":")[0]), VARIABLE, partial(_import, name))


def command_names(app: typer.Typer) -> list[str]:
    """The names under which a typer application's commands and groups are called."""
    commands = [c.name or getattr(c.callback, "__name__", "").replace("_", "-") for c in app.registered_commands]
    return commands + [str(group.name or group.typer_instance.info.name) for group in app.registered_groups]  # type: ignore[union-attr]


def describe(plugins: list[Plugin]) -> str:
    """Failed plugins and their reasons in one line."""
    return "; ".join(f"{plugin} ({plugin.error})" for plugin in plugins)


def is_strict() -> bool:
    """Whether a plugin that fails is to stop everything."""
    return os.environ.get(STRICT, "0").lower() not in ("", "0", "no", "false", "off")


def _import(name: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:  # as `python -m` has it; last, so that it hides nothing
        sys.path.append(here)
    module, _, attributes = name.partition(":")
    found = importlib.import_module(module)
    for attribute in filter(None, attributes.split(".")):
        found = getattr(found, attribute)
    return found


def _owner_of(module: str) -> Owner:
    """The distribution a module belongs to, if it is installed."""
    for distribution in importlib.metadata.packages_distributions().get(module.partition(".")[0], []):
        return Owner(distribution, importlib.metadata.version(distribution))
    return Owner(module, "(no distribution)")


def _refuse_misnamed(implementation: Any) -> None:
    """A hook that is misspelt, not marked or takes something else would silently not be called: say so."""
    if implementation is None or isinstance(implementation, (str, int, float)):
        raise PluginError(f"a plugin is a module or an object with hooks; received {implementation!r}")
    if inspect.isclass(implementation):
        raise PluginError(f"a plugin is a module or an object; received the class {implementation.__name__}, not one")
    for name in dir(implementation):
        method = getattr(implementation, name, None)
        marked = getattr(method, f"{PROJECT}_impl", None) is not None
        if not callable(method) or not (marked or name.startswith("register_")):
            continue
        takes = tuple(inspect.signature(method).parameters)
        if name in HOOKS and not marked:
            raise PluginError(f"{name} is not marked with @implicitkit.hookimpl, so it would never be called")
        if name in HOOKS and takes != PARAMETERS[name]:
            raise PluginError(
                f"{name} takes ({', '.join(PARAMETERS[name])}); received one that takes ({', '.join(takes)})"
            )
        if name not in HOOKS and (marked or takes in PARAMETERS.values()):
            near = nearest(name, HOOKS)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise PluginError(f"there is no hook {name}{hint} (the hooks: {', '.join(HOOKS)})")

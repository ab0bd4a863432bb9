"""Fill the registries: the built-ins first, then every plugin, each alone and all or nothing.

Plugins come from the entry point group ``implicitkit``, from ``IMPLICITKIT_PLUGINS`` and from :func:`register_plugin`;
the first look-up loads them. pluggy finds a plugin's hooks and calls them one plugin at a time, since its own discovery
and multi-call stop at the first exception.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import os
import re
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
from implicitkit.errors import DuplicateNameError, PluginError, PluginWarning, nearest
from implicitkit.errors import describe as describe_error
from implicitkit.hookspecs import PROJECT
from implicitkit.registry.commands import COMMANDS
from implicitkit.registry.containment import contained
from implicitkit.registry.registry import LOADING_LOCK, NO_DISTRIBUTION, Owner, Registry
from implicitkit.version import __version__

if TYPE_CHECKING:
    import typer

VARIABLE = "IMPLICITKIT_PLUGINS"
STRICT_VARIABLE = "IMPLICITKIT_PLUGINS_STRICT"
HOOKS = tuple(sorted(name for name in vars(hookspecs) if name.startswith("register_")))
MANUAL_SOURCE = "register_plugin"
HOOK_PARAMETERS = {name: tuple(inspect.signature(getattr(hookspecs, name)).parameters) for name in HOOKS}
CORE_OWNER = Owner("implicitkit", __version__)


@dataclass
class Plugin:
    """One plugin, loaded or failed.

    Attributes:
        name: the entry point's name, ``module:attribute``, or the name given to :func:`register_plugin`.
        owner: its distribution.
        source: ``"entry point"``, ``"IMPLICITKIT_PLUGINS"`` or ``"register_plugin"``.
        provides: names registered, per kind (``{"decoder": ["mine"], "command": ["my-command"]}``).
        seconds: how long importing and registering took.
        error: one line, if it failed; nothing of it is then registered.
        traceback: the traceback of that error.
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
class PluginSource:
    """A plugin that is not loaded yet."""

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
        """Load the built-ins and every plugin, once. A plugin that fails warns; the others load all the same.

        Raises:
            PluginError: one failed, and ``IMPLICITKIT_PLUGINS_STRICT`` is set.
        """
        with LOADING_LOCK:
            if self._state == "loading":  # a plugin looks something up while it loads
                return
            if self._state == "unloaded":
                self._state = "loading"
                try:
                    self._attempt(PluginSource("implicitkit", CORE_OWNER, "built in", self._built_in), reraise=True)
                    for source in find_plugins(os.environ.get(VARIABLE, "")):
                        self._attempt(source)
                except BaseException:
                    self._forget()
                    raise
                self._state = "loaded"
            if self.failed and is_strict():
                raise PluginError(f"plugins failed to load, and {STRICT_VARIABLE} is set: {describe(self.failed)}")

    def add(self, plugin: Any, name: str | None = None, *, replace: bool = False) -> Plugin:
        """Load ``plugin`` now; see :func:`implicitkit.create.register_plugin`."""
        self.load()
        name = name or getattr(plugin, "__name__", None) or type(plugin).__name__
        version = str(getattr(plugin, "__version__", "(registered by hand)"))
        source = PluginSource(name, Owner(name, version), MANUAL_SOURCE, lambda: plugin)
        with LOADING_LOCK:
            same = [p for p in self.loaded if replace and p.name == name and p.source == MANUAL_SOURCE]
            earlier = [(p, self._implementations[id(p)]) for p in same]
            for old in same:
                self.remove(old)
            try:
                return self._attempt(source, reraise=True)
            except BaseException:  # what was there stays
                for old, implementation in earlier:
                    again = PluginSource(old.name, old.owner, old.source, partial(lambda there: there, implementation))
                    self._attempt(again, reraise=True)
                raise

    def remove(self, plugin: Plugin) -> None:
        """Unregister ``plugin``; see :func:`implicitkit.create.unregister_plugin`."""
        with LOADING_LOCK:
            if plugin not in self.loaded or plugin.source != MANUAL_SOURCE:
                raise PluginError(f"{plugin} was not registered by register_plugin, so it cannot be unregistered")
            for registry in self.registries.values():
                registry.discard(plugin.provides.get(registry.kind, ()))
            self._manager.unregister(self._implementations.pop(id(plugin)))
            self.loaded = [other for other in self.loaded if other is not plugin]

    @property
    def failed(self) -> list[Plugin]:
        """The plugins that failed to load."""
        return [plugin for plugin in self.loaded if plugin.error]

    def versions(self) -> dict[str, str]:
        """The distributions that plugins are of, with their versions; implicitkit itself is left out."""
        self.load()
        owners = [p.owner for p in self.loaded if p.source != "built in" and not p.error]
        return dict(sorted((owner.distribution, owner.version) for owner in owners))

    def modules(self) -> dict[str, Plugin]:
        """The top-level modules that plugins are of, implicitkit's first."""
        loaded: dict[str, Plugin] = {}
        for plugin in self.loaded:
            if (implementation := self._implementations.get(id(plugin))) is not None:
                name = getattr(implementation, "__name__", None) or type(implementation).__module__
                loaded.setdefault(str(name).partition(".")[0], plugin)
        return loaded

    def packages(self) -> dict[Path, Owner]:
        """The folders of the packages that plugins are of, implicitkit's first, with their distributions."""
        self.load()
        folders: dict[Path, Owner] = {}
        for name, plugin in self.modules().items():
            file = getattr(sys.modules.get(name), "__file__", None)
            if file is not None and hasattr(sys.modules[name], "__path__"):
                folders.setdefault(Path(file).parent, plugin.owner)
        return folders

    def where(self) -> str:
        """The loaded and the failed plugins, for error messages."""
        owners = ", ".join(str(plugin.owner) for plugin in self.loaded if not plugin.error)
        failures = f"; plugins that failed to load: {describe(self.failed)}" if self.failed else ""
        return f"looked in {owners}{failures}"

    def _attempt(self, source: PluginSource, reraise: bool = False) -> Plugin:
        """Load one plugin: register into copies, and commit them if nothing failed."""
        plugin = Plugin(source.name, source.owner, source.source)
        started = time.perf_counter()
        try:
            with contained():
                implementation = source.load()
                if self._manager.is_registered(implementation) and not reraise:
                    return plugin  # listed twice
                self._fill(plugin, implementation)
            self._implementations[id(plugin)] = implementation
        except BaseException as error:  # a module may exit when imported, or raise what is no Exception
            if reraise or type(error) is KeyboardInterrupt:
                raise
            plugin.error = describe_error(error)
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
                raise PluginError(f"it implements no hook (the hooks: {', '.join(HOOKS)})")
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
                plugin.provides[copy.kind] = self.registries[hook].commit(copy)
        except BaseException:
            self._manager.unregister(implementation)
            raise

    def _refuse_taken_commands(self, plugin: Plugin) -> None:
        taken = dict.fromkeys(COMMANDS, str(CORE_OWNER))
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
        """Clear everything after an interrupted load, so that the next look-up loads again."""
        for plugin in self._manager.get_plugins():
            self._manager.unregister(plugin)
        for registry in self.registries.values():
            registry.clear()
        self.loaded.clear()
        self._implementations.clear()
        self._state = "unloaded"


def find_plugins(variable: str) -> Iterator[PluginSource]:
    """The plugins to load, in order: entry points by name, then those that ``variable`` names.

    Args:
        variable: the value of ``IMPLICITKIT_PLUGINS``: ``module`` or ``module:attribute``, separated by commas.
            ``none`` among them leaves the entry points out.
    """
    named = [part.strip() for part in variable.split(",") if part.strip()]
    named = ["none" if part.lower() == "none" else part for part in named]
    if "none" not in named:
        points = importlib.metadata.entry_points(group=PROJECT)
        for point in sorted(points, key=lambda p: (p.name, p.value)):
            owner = Owner(point.dist.name, point.dist.version) if point.dist else Owner(point.name, NO_DISTRIBUTION)
            yield PluginSource(point.name, owner, "entry point", point.load)
    for name in named:
        if name != "none":
            yield PluginSource(name, _owner_of(name.partition(":")[0]), VARIABLE, partial(_import, name))


def command_names(app: typer.Typer) -> list[str]:
    """The names of a typer application's commands and groups."""
    commands = [c.name or getattr(c.callback, "__name__", "").replace("_", "-") for c in app.registered_commands]
    return commands + [str(group.name or group.typer_instance.info.name) for group in app.registered_groups]  # type: ignore[union-attr]


def describe(plugins: list[Plugin]) -> str:
    """Failed plugins and their reasons in one line."""
    return "; ".join(f"{plugin} ({plugin.error})" for plugin in plugins)


def is_strict() -> bool:
    """Whether a plugin that fails is an error."""
    return os.environ.get(STRICT_VARIABLE, "0").lower() not in ("", "0", "no", "false", "off")


def _import(name: str) -> Any:
    folder = str(Path.cwd())
    if folder not in sys.path and "" not in sys.path:  # as with `python -m`, but last, so that it hides nothing
        sys.path.append(folder)
    module, _, attributes = name.partition(":")
    plugin = importlib.import_module(module)
    for attribute in filter(None, attributes.split(".")):
        plugin = getattr(plugin, attribute)
    return plugin


def _owner_of(module: str) -> Owner:
    """The distribution of a module, if it is installed.

    The lists of files are searched as texts: ``importlib.metadata.packages_distributions`` makes a path of each of a
    hundred thousand files, which takes a second at each start.
    """
    top = module.partition(".")[0]
    file = re.compile(rf"^{re.escape(top)}(/|\.[\w.-]*(py|so|pyd),)", re.MULTILINE)
    for distribution in importlib.metadata.distributions():
        named = (distribution.read_text("top_level.txt") or "").split()
        if top in named or file.search(distribution.read_text("RECORD") or ""):
            return Owner(distribution.name, distribution.version)
    return Owner(module, NO_DISTRIBUTION)


def _refuse_misnamed(implementation: Any) -> None:
    """Raise for a hook that is misspelt, not marked or has other parameters: pluggy would silently not call it."""
    if implementation is None or isinstance(implementation, (str, int, float)):
        raise PluginError(f"a plugin is a module or an object with hooks; received {implementation!r}")
    if inspect.isclass(implementation):
        raise PluginError(f"a plugin is a module or an object; received the class {implementation.__name__}")
    for name in dir(implementation):
        method = getattr(implementation, name, None)
        marked = getattr(method, f"{PROJECT}_impl", None) is not None
        if not callable(method) or not (marked or name.startswith("register_")):
            continue
        takes = tuple(inspect.signature(method).parameters)
        if name in HOOKS and not marked:
            raise PluginError(f"{name} is not marked with @implicitkit.hookimpl, so it would never be called")
        if name in HOOKS and takes != HOOK_PARAMETERS[name]:
            raise PluginError(
                f"{name} takes ({', '.join(HOOK_PARAMETERS[name])}); received one that takes ({', '.join(takes)})"
            )
        if name not in HOOKS and (marked or takes in HOOK_PARAMETERS.values()):
            near = nearest(name, HOOKS)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise PluginError(f"there is no hook {name}{hint} (the hooks: {', '.join(HOOKS)})")

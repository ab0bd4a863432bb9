"""Which plugin an error comes from: its code raised it, or is on the way to where it was raised."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from implicitkit.errors import UserError, describe, one_line, text_of
from implicitkit.registry.plugins import Plugin, Plugins

WORKER_TRACEBACK = "Original Traceback (most recent call last)"  # in the text of an error of PyTorch's worker processes
LINE = re.compile(r'File "(?P<file>[^"\n]+)", line (?P<line>\d+)')


class Fault(NamedTuple):
    """An error of a plugin.

    Attributes:
        plugin: whose code it was.
        error: the error's type and message.
        place: the innermost line of the plugin's code.
    """

    plugin: Plugin
    error: str
    place: str


def find_fault(error: BaseException, plugins: Plugins) -> Fault | None:
    """The plugin whose code an error comes from; None where there is none, or where the plugin itself words it for the
    user, as a :class:`UserError`.

    A method of a class of the core counts as the plugin's code if it is called on an object of the plugin's.
    """
    owners = {name: plugin for name, plugin in plugins.modules().items() if plugin.source != "built in"}
    if not owners:
        return None
    for cause in _causes(error):
        frames = list(traceback.walk_tb(cause.__traceback__))
        if isinstance(cause, UserError):
            if frames and _owner(frames[-1][0], owners) is not None:
                return None
            continue  # the core words it; its cause is what happened
        for frame, line in reversed(frames):
            if (plugin := _owner(frame, owners)) is not None:
                return Fault(plugin, describe(cause), f"{Path(frame.f_code.co_filename).name}, line {line}")
        if isinstance(cause, AttributeError) and (plugin := _owner_of(type(cause.obj).__module__, owners)) is not None:
            return Fault(plugin, describe(cause), f"an attribute of {type(cause.obj).__name__}")
        if (fault := _in_text(text_of(cause), owners)) is not None:
            return fault
    return None


def explain_fault(error: BaseException, plugins: Plugins) -> str | None:
    """The line for an error of a plugin, which names it and its distribution; None for an error of none."""
    fault = find_fault(error, plugins)
    if fault is None:
        return None
    if isinstance(error, (UserError, ValueError, OSError)) and WORKER_TRACEBACK not in text_of(error):
        return f"{one_line(text_of(error)) or type(error).__name__} (from the plugin {fault.plugin})"
    return one_line(f"the plugin {fault.plugin} failed: {fault.error} ({fault.place})")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__


def _owner(frame: FrameType, owners: Mapping[str, Plugin]) -> Plugin | None:
    """The plugin of a frame's module, or of the object whose method it is."""
    called_on = type(frame.f_locals.get("self")).__module__
    return _owner_of(frame.f_globals.get("__name__", ""), owners) or _owner_of(called_on, owners)


def _owner_of(module: object, owners: Mapping[str, Plugin]) -> Plugin | None:
    return owners.get(str(module).partition(".")[0])


def _in_text(text: str, owners: Mapping[str, Plugin]) -> Fault | None:
    """The fault in a traceback that a worker process has written."""
    if WORKER_TRACEBACK not in text:
        return None
    lines = [line for line in text.splitlines() if line.strip()]
    for match in reversed(list(LINE.finditer(text))):
        for name, plugin in owners.items():
            file = getattr(sys.modules.get(name), "__file__", None)
            whole = hasattr(sys.modules.get(name), "__path__")
            if file and (Path(file).parent in Path(match["file"]).parents if whole else match["file"] == file):
                return Fault(plugin, lines[-1].strip(), f"{Path(match['file']).name}, line {match['line']}")
    return None

"""The hooks that plugins may write: each is documented and is handed one thing."""

from __future__ import annotations

import inspect

import pluggy

import implicitkit as ik
from implicitkit import hookspecs


def test_every_hook_takes_one_thing_and_says_what_for() -> None:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    hooks = {name: getattr(hookspecs, name) for name in vars(hookspecs) if name.startswith("register_")}
    assert len(hooks) == 15 and all(getattr(manager.hook, name).spec for name in hooks)
    for name, hook in hooks.items():
        assert list(inspect.signature(hook).parameters) == ["app" if name == "register_commands" else "register"]
        assert hook.__doc__


def test_the_public_marker_is_the_one_that_is_looked_for() -> None:
    @ik.hookimpl
    def register_decoders(register: object) -> None: ...

    assert getattr(register_decoders, f"{hookspecs.PROJECT}_impl")

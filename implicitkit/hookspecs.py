"""The hooks for plugins: one per kind, called with the function that registers.

A plugin is a module, or any object, with functions of these names marked ``@implicitkit.hookimpl``::

    import implicitkit as ik

    @ik.hookimpl
    def register_decoders(register):
        register("mine", "my_package.mine:Mine", summary="what it is, in one line")

``register(name, factory, *, summary="", metadata=None)`` takes a callable or ``"module:attribute"``, which is
imported at first use. See ``docs/plugins.md``.

>>> class Plugin:
...     @hookimpl
...     def register_models(self, register):
...         register("hookspecs_example", lambda: {"encoder": "edsr", "decoder": "liif"})
>>> import implicitkit as ik
>>> ik.unregister_plugin(ik.register_plugin(Plugin()))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import typer

Register = Callable[..., Any]

PROJECT = "implicitkit"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_encoders(register: Register) -> None:
    """Encoders: the factory returns an :class:`implicitkit.Encoder`."""


@hookspec
def register_necks(register: Register) -> None:
    """Necks: the factory returns an :class:`implicitkit.Neck` and takes ``in_channels``."""


@hookspec
def register_decoders(register: Register) -> None:
    """Decoders: the factory returns an :class:`implicitkit.Decoder` and takes ``in_channels``."""


@hookspec
def register_degradations(register: Register) -> None:
    """Degradations: the factory returns an :class:`implicitkit.Degradation`."""


@hookspec
def register_models(register: Register) -> None:
    """Named models: the factory returns a model's spec (a mapping)."""


@hookspec
def register_losses(register: Register) -> None:
    """Losses: the factory returns a callable ``(prediction, batch) -> scalar tensor``."""


@hookspec
def register_metrics(register: Register) -> None:
    """Metrics: named scores of a picture against the truth."""


@hookspec
def register_protocols(register: Register) -> None:
    """Protocols of evaluation: the factory returns an :class:`implicitkit.Protocol`."""


@hookspec
def register_datasets(register: Register) -> None:
    """Datasets: the factory returns an :class:`implicitkit.Dataset`, or a ``torch.utils.data.Dataset`` of pictures."""


@hookspec
def register_optimisers(register: Register) -> None:
    """Optimisers: the factory takes ``(params, lr, **options)`` and returns a ``torch.optim.Optimizer``."""


@hookspec
def register_schedules(register: Register) -> None:
    """Schedules: the factory returns an :class:`implicitkit.Schedule`, the learning rate of each step."""


@hookspec
def register_callbacks(register: Register) -> None:
    """Callbacks: the factory returns an :class:`implicitkit.Callback`, which follows a training."""


@hookspec
def register_tabs(register: Register) -> None:
    """Tabs of ``implicitkit app``: the factory takes an :class:`implicitkit.app.Session` and lays out the tab."""


@hookspec
def register_weights(register: Register) -> None:
    """Weight files that are fetched by name: the factory returns an :class:`implicitkit.weights.KnownFile`."""


@hookspec
def register_commands(app: typer.Typer) -> None:
    """Sub-commands of ``implicitkit``: add them to ``app`` as to any typer application."""

"""implicitkit: a picture as a function that can be asked for its colour at any coordinate.

    import implicitkit as ik

    model = ik.load_model("liif_small")
    field = model.encode(ik.read_image("photo.png"))
    ik.write_image("large.png", field.render((1080, 1920)))

The names below are promised; each is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from implicitkit.version import __version__

if TYPE_CHECKING:
    from implicitkit.decoders.base import Decoder
    from implicitkit.decoders.local_ensemble import LocalEnsembleDecoder
    from implicitkit.degradations.base import Degradation, Degraded
    from implicitkit.encoders.base import Encoder, Features
    from implicitkit.errors import (
        ArgumentError,
        ConfigError,
        DataError,
        DuplicateNameError,
        ImageError,
        PluginError,
        PluginWarning,
        UnknownNameError,
        UserError,
        WeightsError,
    )
    from implicitkit.evaluation.protocol import Protocol
    from implicitkit.field.field import Field, Prediction
    from implicitkit.hookspecs import hookimpl
    from implicitkit.images.io import read_image, write_image
    from implicitkit.metrics.base import Metric
    from implicitkit.model import ImplicitModel, create_model
    from implicitkit.registry.kinds import (
        create_decoder,
        create_degradation,
        create_encoder,
        create_loss,
        create_metric,
        create_protocol,
        list_decoders,
        list_degradations,
        list_encoders,
        list_losses,
        list_metrics,
        list_models,
        list_protocols,
        register_plugin,
        unregister_plugin,
    )
    from implicitkit.weights import load_model

_HOME = {
    "ArgumentError": "errors",
    "ConfigError": "errors",
    "DataError": "errors",
    "Decoder": "decoders.base",
    "Degradation": "degradations.base",
    "Degraded": "degradations.base",
    "DuplicateNameError": "errors",
    "Encoder": "encoders.base",
    "Features": "encoders.base",
    "Field": "field.field",
    "ImageError": "errors",
    "ImplicitModel": "model",
    "LocalEnsembleDecoder": "decoders.local_ensemble",
    "Metric": "metrics.base",
    "PluginError": "errors",
    "PluginWarning": "errors",
    "Prediction": "field.field",
    "Protocol": "evaluation.protocol",
    "UnknownNameError": "errors",
    "UserError": "errors",
    "WeightsError": "errors",
    "create_decoder": "registry.kinds",
    "create_degradation": "registry.kinds",
    "create_encoder": "registry.kinds",
    "create_loss": "registry.kinds",
    "create_metric": "registry.kinds",
    "create_model": "model",
    "create_protocol": "registry.kinds",
    "hookimpl": "hookspecs",
    "list_decoders": "registry.kinds",
    "list_degradations": "registry.kinds",
    "list_encoders": "registry.kinds",
    "list_losses": "registry.kinds",
    "list_metrics": "registry.kinds",
    "list_models": "registry.kinds",
    "list_protocols": "registry.kinds",
    "load_model": "weights",
    "read_image": "images.io",
    "register_plugin": "registry.kinds",
    "unregister_plugin": "registry.kinds",
    "write_image": "images.io",
}

__all__ = [
    "ArgumentError",
    "ConfigError",
    "DataError",
    "Decoder",
    "Degradation",
    "Degraded",
    "DuplicateNameError",
    "Encoder",
    "Features",
    "Field",
    "ImageError",
    "ImplicitModel",
    "LocalEnsembleDecoder",
    "Metric",
    "PluginError",
    "PluginWarning",
    "Prediction",
    "Protocol",
    "UnknownNameError",
    "UserError",
    "WeightsError",
    "__version__",
    "create_decoder",
    "create_degradation",
    "create_encoder",
    "create_loss",
    "create_metric",
    "create_model",
    "create_protocol",
    "hookimpl",
    "list_decoders",
    "list_degradations",
    "list_encoders",
    "list_losses",
    "list_metrics",
    "list_models",
    "list_protocols",
    "load_model",
    "read_image",
    "register_plugin",
    "unregister_plugin",
    "write_image",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'implicitkit' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"implicitkit.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

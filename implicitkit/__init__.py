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
    from implicitkit.create import (
        create_decoder,
        create_degradation,
        create_encoder,
        create_loss,
        create_metric,
        create_model,
        create_protocol,
        list_decoders,
        list_degradations,
        list_encoders,
        list_losses,
        list_metrics,
        list_models,
        list_protocols,
        load_model,
        register_decoder,
        register_degradation,
        register_encoder,
        register_loss,
        register_metric,
        register_model,
        register_plugin,
        register_protocol,
        unregister_plugin,
    )
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
    from implicitkit.model import ImplicitModel

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
    "create_decoder": "create",
    "create_degradation": "create",
    "create_encoder": "create",
    "create_loss": "create",
    "create_metric": "create",
    "create_model": "create",
    "create_protocol": "create",
    "hookimpl": "hookspecs",
    "list_decoders": "create",
    "list_degradations": "create",
    "list_encoders": "create",
    "list_losses": "create",
    "list_metrics": "create",
    "list_models": "create",
    "list_protocols": "create",
    "load_model": "create",
    "read_image": "images.io",
    "register_decoder": "create",
    "register_degradation": "create",
    "register_encoder": "create",
    "register_loss": "create",
    "register_metric": "create",
    "register_model": "create",
    "register_plugin": "create",
    "register_protocol": "create",
    "unregister_plugin": "create",
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
    "register_decoder",
    "register_degradation",
    "register_encoder",
    "register_loss",
    "register_metric",
    "register_model",
    "register_plugin",
    "register_protocol",
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

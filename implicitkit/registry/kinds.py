"""The seven registries, who fills them, and the functions that look things up in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from implicitkit.errors import PluginError
from implicitkit.registry.plugins import Plugin, Plugins
from implicitkit.registry.registry import Registry, article, check_arguments

if TYPE_CHECKING:
    from implicitkit.decoders.base import Decoder
    from implicitkit.degradations.base import Degradation
    from implicitkit.encoders.base import Encoder
    from implicitkit.evaluation.protocol import Protocol
    from implicitkit.metrics.base import Metric

T = TypeVar("T")


def _built_in() -> Any:
    from implicitkit.registry import builtin

    return builtin


def _load() -> None:
    plugins.load()


def _where() -> str:
    return plugins.where()


encoders: Registry[Encoder] = Registry("encoder", _load, _where)
decoders: Registry[Decoder] = Registry("decoder", _load, _where)
degradations: Registry[Degradation] = Registry("degradation", _load, _where)
models: Registry[dict[str, Any]] = Registry("model", _load, _where)
losses: Registry[Callable[..., Any]] = Registry("loss", _load, _where)
metrics: Registry[Metric] = Registry("metric", _load, _where)
protocols: Registry[Protocol] = Registry("protocol", _load, _where)

plugins = Plugins(
    {
        "register_encoders": encoders,
        "register_decoders": decoders,
        "register_degradations": degradations,
        "register_models": models,
        "register_losses": losses,
        "register_metrics": metrics,
        "register_protocols": protocols,
    },
    _built_in,
)


def register_plugin(plugin: Any, name: str | None = None) -> Plugin:
    """Load a plugin of the running program: a module or an object with functions marked ``@implicitkit.hookimpl``.

    Args:
        plugin: the module or object; see :mod:`implicitkit.hookspecs` for the hooks.
        name: what to call it in lists and errors (default: the module's or class's name).

    Returns:
        What was registered.

    Raises:
        PluginError: it implements no hook, or misspells one.
        DuplicateNameError: it claims a name that is taken; nothing of it is registered.
    """
    return plugins.add(plugin, name)


def unregister_plugin(plugin: Plugin) -> None:
    """Take back what :func:`register_plugin` did, for notebooks and tests; what was built stays as it is.

    Args:
        plugin: what :func:`register_plugin` returned.

    Raises:
        PluginError: it is not, or no longer, registered, or was found in another way.
    """
    plugins.remove(plugin)


def parse_part(part: str | Mapping[str, Any], kind: str) -> tuple[str, dict[str, Any]]:
    """``"name"`` or ``{"name": ..., **arguments}`` as ``(name, arguments)``."""
    if isinstance(part, str):
        return part, {}
    if isinstance(part, Mapping) and isinstance(part.get("name"), str):
        return part["name"], {key: value for key, value in part.items() if key != "name"}
    raise ValueError(f"{kind} is a name or a mapping with a 'name'; received {part!r}")


def create_part(registry: Registry[T], part: str | Mapping[str, Any], /, **arguments: Any) -> T:
    """Build a part by name or spec, and let it remember the spec it was built from (``part.spec``)."""
    name, given = parse_part(part, f"the {registry.kind}")
    entry, first = registry.find(name)
    factory = registry.resolve(entry)
    checked = check_arguments(f"{registry.kind} {name!r}", factory, first, {**given, **arguments})
    built = factory(*first, **checked)
    try:
        built.spec = {"name": entry.name + "".join(first), **checked}  # type: ignore[attr-defined]
    except AttributeError:
        raise PluginError(
            f"{registry.kind} {entry.name!r} of {entry.owner} gave {type(built).__name__}, which cannot hold its spec; "
            f"its factory must return {article(registry.kind)}"
        ) from None
    return built


def create_encoder(name: str | Mapping[str, Any], **arguments: Any) -> Encoder:
    """An encoder by name (``"edsr_baseline"``) or spec (``{"name": "edsr", "blocks": 8}``).

    Raises:
        UnknownNameError: no encoder is called so.
        TypeError: it does not take one of the arguments.
    """
    return create_part(encoders, name, **arguments)


def create_decoder(name: str | Mapping[str, Any], **arguments: Any) -> Decoder:
    """A decoder by name (``"liif"``) or spec; give ``in_channels`` if the encoder has other than 64 features per
    pixel.
    """
    return create_part(decoders, name, **arguments)


def create_degradation(
    spec: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]], **arguments: Any
) -> Degradation:
    """A degradation by name or spec; a list applies one after the other.

    >>> create_degradation({"name": "super_resolution", "scale": 4}).spec
    {'name': 'super_resolution', 'scale': 4.0}
    """
    if isinstance(spec, Sequence) and not isinstance(spec, str):
        from implicitkit.degradations.base import Chain

        if arguments:
            raise TypeError("a list of degradations takes its arguments inside the list")
        return Chain([create_degradation(step) for step in spec])
    return create_part(degradations, spec, **arguments)


def create_loss(name: str | Mapping[str, Any], **arguments: Any) -> Callable[..., Any]:
    """A loss by name (``"charbonnier"``) or spec; call it as ``loss(prediction, batch)``, see
    :mod:`implicitkit.losses`.
    """
    return create_part(losses, name, **arguments)


def create_metric(name: str | Mapping[str, Any], **arguments: Any) -> Metric:
    """A metric by name (``"ssim"``) or spec; call it as ``metric(prediction, target, mask=None)``.

    >>> create_metric({"name": "psnr_y", "shave": 4}).unit
    'dB'
    """
    return create_part(metrics, name, **arguments)


def create_protocol(spec: str | Mapping[str, Any], /, **arguments: Any) -> Protocol:
    """A protocol by name (``"benchmark"``) or spec (``{"name": "inpainting", "size": 128}``); its ``evaluate`` scores
    models on a folder.

    >>> create_protocol("benchmark", scales=[2, 8]).settings()
    {'scales': [2.0, 8.0]}
    """
    return create_part(protocols, spec, **arguments)


def list_encoders(pattern: str | None = None) -> list[str]:
    """Names of encoders, e.g. those like ``"*edsr*"``."""
    return encoders.names(pattern)


def list_decoders(pattern: str | None = None) -> list[str]:
    """Names of decoders."""
    return decoders.names(pattern)


def list_degradations(pattern: str | None = None) -> list[str]:
    """Names of degradations."""
    return degradations.names(pattern)


def list_losses(pattern: str | None = None) -> list[str]:
    """Names of losses."""
    return losses.names(pattern)


def list_metrics(pattern: str | None = None) -> list[str]:
    """Names of metrics."""
    return metrics.names(pattern)


def list_protocols(pattern: str | None = None) -> list[str]:
    """Names of protocols."""
    return protocols.names(pattern)


def list_models(pattern: str | None = None, *, pretrained: bool | None = None) -> list[str]:
    """Names of models; ``pretrained=True`` keeps those whose weights can be loaded."""
    return models.names(pattern, **({} if pretrained is None else {"pretrained": pretrained}))

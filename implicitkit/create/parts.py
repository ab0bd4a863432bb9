"""Create parts by name or spec."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from implicitkit.registry.kinds import (
    callbacks,
    create_part,
    datasets,
    decoders,
    degradations,
    encoders,
    losses,
    metrics,
    necks,
    parse_part,
    protocols,
    schedules,
)

if TYPE_CHECKING:
    from torch import Tensor

    from implicitkit.datasets.base import Dataset
    from implicitkit.decoders.base import Decoder
    from implicitkit.degradations.base import Degradation
    from implicitkit.encoders.base import Encoder
    from implicitkit.field.field import Prediction
    from implicitkit.metrics.base import Metric
    from implicitkit.necks.base import Neck
    from implicitkit.registry.registry import Registry

Spec = str | Mapping[str, Any]


def create_encoder(name: Spec, **arguments: Any) -> Encoder:
    """An encoder by name or spec.

    Args:
        name: a registered name, or a mapping ``{"name": ..., **arguments}``.
        arguments: further arguments of the encoder.

    Raises:
        UnknownNameError: no encoder has this name.
        ArgumentError: it does not take one of the arguments.
        ConfigError: its weights do not fit into memory.

    >>> create_encoder({"name": "edsr", "blocks": 2}, channels=8).out_channels
    8
    """
    encoder: Encoder = _create_network(encoders, name, arguments)
    return encoder


def create_decoder(name: Spec, **arguments: Any) -> Decoder:
    """A decoder by name or spec; give ``in_channels`` unless the encoder has 64 features per cell.

    >>> create_decoder("liif", in_channels=8).out_channels
    3
    """
    decoder: Decoder = _create_network(decoders, name, arguments)
    return decoder


def create_neck(name: Spec, **arguments: Any) -> Neck:
    """A neck by name or spec; give ``in_channels`` unless the encoder has 64 features per cell.

    >>> create_neck("thera_plus", in_channels=8, blocks=[[8, 1], [12, 1]]).out_channels
    12
    """
    neck: Neck = _create_network(necks, name, arguments)
    return neck


def create_degradation(spec: Spec | Sequence[Spec], **arguments: Any) -> Degradation:
    """A degradation by name or spec; a list applies one after the other.

    >>> create_degradation({"name": "super_resolution", "scale": 4}).spec
    {'name': 'super_resolution', 'scale': 4.0}
    """
    if isinstance(spec, Sequence) and not isinstance(spec, str):
        from implicitkit.degradations.base import Chain

        if arguments:
            raise TypeError(
                f"give the arguments of a list of degradations inside the list; received {', '.join(arguments)}"
            )
        return Chain([create_degradation(step) for step in spec])
    degradation: Degradation = create_part(degradations, spec, **arguments)
    return degradation


def create_loss(name: Spec, **arguments: Any) -> Callable[[Prediction, Mapping[str, Any]], Tensor]:
    """A loss by name or spec; call it as ``loss(prediction, batch)``, see :mod:`implicitkit.losses`.

    >>> create_loss({"name": "l1", "hole_weight": 6})
    L1(hole_weight=6.0, luma=0.0)
    """
    loss: Callable[[Prediction, Mapping[str, Any]], Tensor] = create_part(losses, name, **arguments)
    return loss


def create_metric(name: Spec, **arguments: Any) -> Metric:
    """A metric by name or spec; call it as ``metric(prediction, target, mask=None)``.

    >>> create_metric({"name": "psnr_y", "shave": 4}).unit
    'dB'
    """
    metric: Metric = create_part(metrics, name, **arguments)
    return metric


def create_protocol(spec: Spec, /, **arguments: Any) -> Any:
    """A protocol by name or spec; its ``evaluate`` scores models on a folder.

    >>> create_protocol("benchmark", scales=[2, 8]).settings()
    {'scales': [2.0, 8.0]}
    """
    return create_part(protocols, spec, **arguments)


def _create_network(registry: Registry[Any], part: Spec, arguments: Mapping[str, Any]) -> Any:
    """A part with weights, if they fit into memory."""
    from implicitkit.create.memory import build_within_memory

    name, given = parse_part(part, f"the {registry.kind}")
    build = partial(create_part, registry, name)
    return build_within_memory(build, {**given, **arguments}, registry.defaults(name))


def create_schedule(spec: Spec, /, **arguments: Any) -> Any:
    """A schedule by name or spec; its ``rate(step, steps, lr)`` is the learning rate of a step.

    >>> create_schedule("cosine").rate(5, 10, 1.0)
    0.5
    """
    return create_part(schedules, spec, **arguments)


def create_callback(spec: Spec, /, **arguments: Any) -> Any:
    """A callback of a training by name or spec.

    >>> create_callback({"name": "early_stopping", "patience": 3})
    EarlyStopping(patience=3, min_delta=0.0)
    """
    return create_part(callbacks, spec, **arguments)


def create_dataset(spec: Spec, /, **arguments: Any) -> Dataset:
    """A dataset of pictures by name or spec; what is registered may be a ``torch.utils.data.Dataset`` as well.

    Raises:
        DataError: there are no pictures.

    >>> from implicitkit.files import ASSETS
    >>> create_dataset("folders", folders=[str(ASSETS)]).names[0].endswith("astronaut.png")
    True
    """
    from implicitkit.datasets.base import as_dataset

    return as_dataset(create_part(datasets, spec, **arguments))

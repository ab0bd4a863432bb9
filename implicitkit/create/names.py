"""List the names that are registered, and register further ones from a running program."""

from __future__ import annotations

from typing import Any

from implicitkit.registry.kinds import (
    callbacks,
    datasets,
    decoders,
    degradations,
    encoders,
    enrol,
    losses,
    metrics,
    models,
    necks,
    optimisers,
    plugins,
    protocols,
    schedules,
    weights,
)
from implicitkit.registry.plugins import Plugin


def list_encoders(pattern: str | None = None) -> list[str]:
    """Names of encoders, all or those that match a shell-style pattern.

    >>> list_encoders("edsr*")
    ['edsr', 'edsr_baseline']
    """
    return encoders.names(pattern)


def list_decoders(pattern: str | None = None) -> list[str]:
    """Names of decoders.

    >>> list_decoders("lte*")
    ['lte', 'lte_plus']
    """
    return decoders.names(pattern)


def list_necks(pattern: str | None = None) -> list[str]:
    """Names of necks.

    >>> list_necks()
    ['thera_plus', 'thera_pro']
    """
    return necks.names(pattern)


def list_degradations(pattern: str | None = None) -> list[str]:
    """Names of degradations.

    >>> "inpainting" in list_degradations()
    True
    """
    return degradations.names(pattern)


def list_losses(pattern: str | None = None) -> list[str]:
    """Names of losses.

    >>> list_losses("l?")
    ['l1', 'l2']
    """
    return losses.names(pattern)


def list_metrics(pattern: str | None = None) -> list[str]:
    """Names of metrics.

    >>> list_metrics("psnr*")
    ['psnr', 'psnr_y']
    """
    return metrics.names(pattern)


def list_protocols(pattern: str | None = None) -> list[str]:
    """Names of protocols.

    >>> "inpainting" in list_protocols()
    True
    """
    return protocols.names(pattern)


def list_datasets(pattern: str | None = None) -> list[str]:
    """Names of datasets.

    >>> list_datasets()
    ['folders', 'hf:', 'manifest', 'paired']
    """
    return datasets.names(pattern)


def list_optimisers(pattern: str | None = None) -> list[str]:
    """Names of optimisers; a pattern that begins with ``timm:`` lists timm's.

    >>> list_optimisers("adam*"), list_optimisers("timm:lam*")[0]
    (['adam', 'adamw'], 'timm:lamb')
    """
    return optimisers.names(pattern)


def list_schedules(pattern: str | None = None) -> list[str]:
    """Names of schedules of the learning rate.

    >>> list_schedules("c*")
    ['constant', 'cosine']
    """
    return schedules.names(pattern)


def list_callbacks(pattern: str | None = None) -> list[str]:
    """Names of callbacks of a training.

    >>> "early_stopping" in list_callbacks()
    True
    """
    return callbacks.names(pattern)


def list_weights(pattern: str | None = None) -> list[str]:
    """Names of weight files that :func:`implicitkit.weights.fetch` gets.

    >>> list_weights("lpips*")
    ['lpips_alex', 'lpips_squeeze', 'lpips_vgg']
    """
    return weights.names(pattern)


def list_models(pattern: str | None = None, *, pretrained: bool | None = None) -> list[str]:
    """Names of models; ``pretrained=True``: only those with weights.

    >>> "liif_small" in list_models(pretrained=True)
    True
    """
    return models.names(pattern, **({} if pretrained is None else {"pretrained": pretrained}))


def register_encoder(name: str, factory: Any = None, **how: Any) -> Any:
    """Register an encoder from the running program: ``register_encoder("mine", Mine)``, or as a decorator.

    Packages implement the hook ``register_encoders`` instead (:mod:`implicitkit.hookspecs`).

    Args:
        name: ``snake_case``; must be free.
        factory: a callable that returns an encoder, such as its class; None makes a decorator.
        how: ``summary`` (default: the docstring's first line), ``metadata``, and ``replace=True`` to register a name
            of the same module again, as in a notebook.

    Raises:
        DuplicateNameError: the name is taken.

    >>> from implicitkit import Encoder, create_encoder
    >>> @register_encoder("grey_example", replace=True)
    ... class Grey(Encoder):
    ...     out_channels = 1
    ...     def extract(self, x):
    ...         return x.mean(1, keepdim=True)
    >>> create_encoder("grey_example").out_channels
    1
    """
    return enrol(encoders, name, factory, **how)


def register_decoder(name: str, factory: Any = None, **how: Any) -> Any:
    """Register a decoder; see :func:`register_encoder`.

    >>> from implicitkit.decoders.liif import LIIF
    >>> _ = register_decoder("tiny_example", lambda in_channels=64: LIIF(in_channels, hidden=[8]), replace=True)
    """
    return enrol(decoders, name, factory, **how)


def register_neck(name: str, factory: Any = None, **how: Any) -> Any:
    """Register a neck; see :func:`register_encoder`.

    >>> from implicitkit.necks.convnext import ConvNeXt
    >>> _ = register_neck("thin_example", lambda in_channels=64: ConvNeXt(in_channels, [[8, 1]]), replace=True)
    """
    return enrol(necks, name, factory, **how)


def register_degradation(name: str, factory: Any = None, **how: Any) -> Any:
    """Register a degradation; see :func:`register_encoder`.

    >>> from implicitkit.degradations.noise import Noise
    >>> _ = register_degradation("grain_example", lambda: Noise(sigma=5), replace=True)
    """
    return enrol(degradations, name, factory, **how)


def register_model(name: str, factory: Any = None, **how: Any) -> Any:
    """Register a model, whose factory returns its spec; see :func:`register_encoder`.

    >>> from implicitkit import create_model
    >>> spec = {"encoder": {"name": "edsr", "blocks": 1, "channels": 8}, "decoder": "liif"}
    >>> _ = register_model("tiny_model_example", lambda: spec, replace=True)
    >>> create_model("tiny_model_example")
    ImplicitModel(edsr -> liif, 0.22 M parameters)
    """
    return enrol(models, name, factory, **how)


def register_loss(name: str, factory: Any = None, **how: Any) -> Any:
    """Register a loss; see :func:`register_encoder`.

    >>> from implicitkit.losses import L1
    >>> _ = register_loss("holes_example", lambda: L1(hole_weight=6), replace=True)
    """
    return enrol(losses, name, factory, **how)


def register_metric(name: str, factory: Any = None, **how: Any) -> Any:
    """Register a metric; see :func:`register_encoder`.

    >>> from implicitkit.metrics import PSNR
    >>> _ = register_metric("inner_example", lambda: PSNR(shave=8), replace=True)
    """
    return enrol(metrics, name, factory, **how)


def register_protocol(name: str, factory: Any = None, **how: Any) -> Any:
    """Register a protocol; see :func:`register_encoder`.

    >>> from implicitkit.evaluation.super_resolution import Benchmark
    >>> _ = register_protocol("large_example", lambda: Benchmark(scales=[8]), replace=True)
    """
    return enrol(protocols, name, factory, **how)


def register_dataset(name: str, factory: Any = None, **how: Any) -> Any:
    """Register a dataset, also a ``torch.utils.data.Dataset`` of pictures; see :func:`register_encoder`.

    >>> import torch
    >>> @register_dataset("noise_example", replace=True)
    ... class Noise(torch.utils.data.Dataset):
    ...     def __len__(self):
    ...         return 4
    ...     def __getitem__(self, k):
    ...         return torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(k))
    >>> from implicitkit import create_dataset
    >>> create_dataset("noise_example")[3].shape
    (32, 32, 3)
    """
    return enrol(datasets, name, factory, **how)


def register_optimiser(name: str, factory: Any = None, **how: Any) -> Any:
    """Register an optimiser, ``factory(params, lr, **options)``; see :func:`register_encoder`.

    >>> import torch
    >>> _ = register_optimiser("rmsprop_example", torch.optim.RMSprop, replace=True)
    """
    return enrol(optimisers, name, factory, **how)


def register_schedule(name: str, factory: Any = None, **how: Any) -> Any:
    """Register a schedule of the learning rate; see :func:`register_encoder`.

    >>> from implicitkit import Schedule
    >>> @register_schedule("halving_example", replace=True)
    ... class Halving(Schedule):
    ...     def __init__(self, every: int = 1000) -> None:
    ...         self.every = every
    ...     def rate(self, step, steps, lr):
    ...         return lr * 0.5 ** (step // self.every)
    """
    return enrol(schedules, name, factory, **how)


def register_callback(name: str, factory: Any = None, **how: Any) -> Any:
    """Register a callback of a training; see :func:`register_encoder`.

    >>> from implicitkit import Callback
    >>> @register_callback("loss_example", replace=True)
    ... class PrintLoss(Callback):
    ...     def on_step(self, training):
    ...         print(training.step, float(training.loss))
    """
    return enrol(callbacks, name, factory, **how)


def register_weights(name: str, factory: Any = None, **how: Any) -> Any:
    """Register a weight file that is fetched by name: the factory returns its
    :class:`~implicitkit.weights.KnownFile`; see :func:`register_encoder`.

    >>> from implicitkit.weights import KnownFile, Source
    >>> @register_weights("mine_example", replace=True)
    ... def mine():
    ...     place = Source("hf-hub:Me/Mine/mine.safetensors")
    ...     return KnownFile("mine.safetensors", "enlarging comics", "MIT", 1_234_567, "0123abcd" * 8, (place,))
    """
    return enrol(weights, name, factory, **how)


def register_plugin(plugin: Any, name: str | None = None, *, replace: bool = False) -> Plugin:
    """Load a plugin of the running program: a module or an object with functions marked ``@implicitkit.hookimpl``.

    Args:
        plugin: the module or object; see :mod:`implicitkit.hookspecs` for the hooks.
        name: its name in lists and errors (default: the module's or class's name).
        replace: take the place of a plugin of the same name that was registered by this function, as when the cell of
            a notebook is run again.

    Returns:
        The plugin; :func:`unregister_plugin` takes it.

    Raises:
        PluginError: it implements no hook, or misspells one.
        DuplicateNameError: it claims a name that is taken; nothing of it is registered.

    >>> import implicitkit as ik
    >>> class Sketches:
    ...     @ik.hookimpl
    ...     def register_decoders(self, register):
    ...         register("sketch_example", "implicitkit.decoders.liif:LIIF", summary="an example")
    >>> plugin = register_plugin(Sketches())
    >>> plugin.provides
    {'decoder': ['sketch_example']}
    >>> unregister_plugin(plugin)
    """
    return plugins.add(plugin, name, replace=replace)


def unregister_plugin(plugin: Plugin) -> None:
    """Unregister what :func:`register_plugin` returned, for notebooks and tests; objects built before stay.

    Raises:
        PluginError: it is not registered, or not by :func:`register_plugin`.

    >>> import implicitkit as ik
    >>> class Sketches:
    ...     @ik.hookimpl
    ...     def register_losses(self, register):
    ...         register("sketch_loss", "implicitkit.losses:L1", summary="an example")
    >>> plugin = ik.register_plugin(Sketches())
    >>> "sketch_loss" in ik.list_losses()
    True
    >>> unregister_plugin(plugin)
    >>> "sketch_loss" in ik.list_losses()
    False
    """
    plugins.remove(plugin)

"""Create parts and models by name, by spec or from a file; list and register names.

    model = ik.create_model("liif_edsr_baseline")           # a registered name, random weights
    model = ik.create_model({"encoder": "rdn", "decoder": "lte"})
    model = ik.load_model("photo_model.safetensors")        # a file, ours or the authors'
    model = ik.load_model("hf-hub:Organisation/name")

    @ik.register_decoder("mine")
    class Mine(ik.LocalEnsembleDecoder): ...

Heavy imports are inside functions, so that names can be listed without torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from implicitkit.errors import UnknownNameError, UserError, WeightsError
from implicitkit.registry.kinds import (
    create_part,
    decoders,
    degradations,
    encoders,
    enrol,
    losses,
    metrics,
    models,
    named_spec,
    necks,
    plugins,
    protocols,
    shipped_file,
)
from implicitkit.registry.plugins import Plugin
from implicitkit.registry.registry import Entry, parameter_names

if TYPE_CHECKING:
    from implicitkit.config import ModelSpec
    from implicitkit.decoders.base import Decoder
    from implicitkit.degradations.base import Degradation
    from implicitkit.encoders.base import Encoder
    from implicitkit.model import ImplicitModel
    from implicitkit.necks.base import Neck
    from implicitkit.weights.checkpoint import Checkpoint

Spec = str | Mapping[str, Any]
HUB_PREFIX, FOLDER_PREFIX = "hf-hub:", "local-dir:"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")
FILE_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".onnx")


def create_encoder(name: Spec, **arguments: Any) -> Encoder:
    """An encoder by name or spec.

    Args:
        name: a registered name, or a mapping ``{"name": ..., **arguments}``.
        arguments: further arguments of the encoder.

    Raises:
        UnknownNameError: no encoder has this name.
        ArgumentError: it does not take one of the arguments.

    >>> create_encoder({"name": "edsr", "blocks": 2}, channels=8).out_channels
    8
    """
    encoder: Encoder = create_part(encoders, name, **arguments)
    return encoder


def create_decoder(name: Spec, **arguments: Any) -> Decoder:
    """A decoder by name or spec; give ``in_channels`` unless the encoder has 64 features per cell.

    >>> create_decoder("liif", in_channels=8).out_channels
    3
    """
    decoder: Decoder = create_part(decoders, name, **arguments)
    return decoder


def create_neck(name: Spec, **arguments: Any) -> Neck:
    """A neck by name or spec; give ``in_channels`` unless the encoder has 64 features per cell.

    >>> create_neck("thera_plus", in_channels=8, blocks=[[8, 1], [12, 1]]).out_channels
    12
    """
    neck: Neck = create_part(necks, name, **arguments)
    return neck


def create_degradation(spec: Spec | Sequence[Spec], **arguments: Any) -> Degradation:
    """A degradation by name or spec; a list applies one after the other.

    >>> create_degradation({"name": "super_resolution", "scale": 4}).spec
    {'name': 'super_resolution', 'scale': 4.0}
    """
    if isinstance(spec, Sequence) and not isinstance(spec, str):
        from implicitkit.degradations.base import Chain

        if arguments:
            raise TypeError("give the arguments of a list of degradations inside the list")
        return Chain([create_degradation(step) for step in spec])
    degradation: Degradation = create_part(degradations, spec, **arguments)
    return degradation


def create_loss(name: Spec, **arguments: Any) -> Callable[..., Any]:
    """A loss by name or spec; call it as ``loss(prediction, batch)``, see :mod:`implicitkit.losses`.

    >>> create_loss({"name": "l1", "hole_weight": 6}).hole_weight
    6.0
    """
    loss: Callable[..., Any] = create_part(losses, name, **arguments)
    return loss


def create_metric(name: Spec, **arguments: Any) -> Any:
    """A metric by name or spec; call it as ``metric(prediction, target, mask=None)``.

    >>> create_metric({"name": "psnr_y", "shave": 4}).unit
    'dB'
    """
    return create_part(metrics, name, **arguments)


def create_protocol(spec: Spec, /, **arguments: Any) -> Any:
    """A protocol by name or spec; its ``evaluate`` scores models on a folder.

    >>> create_protocol("benchmark", scales=[2, 8]).settings()
    {'scales': [2.0, 8.0]}
    """
    return create_part(protocols, spec, **arguments)


def create_model(model: Spec | ModelSpec, pretrained: bool = False, **overrides: Any) -> ImplicitModel:
    """A model by name or spec.

    Args:
        model: a registered name (``"liif_edsr_baseline"``) or a spec ``{"encoder": ..., "decoder": ..., ...}``.
        pretrained: load the weights of the name; the model is then in eval mode.
        overrides: entries of the spec to replace, e.g. ``decoder={"name": "liif", "hidden": [64]}``.

    Raises:
        UnknownNameError: no model (or part) has this name.
        ConfigError: the spec has an unknown key or a wrong value.
        ValueError: the parts do not fit, or ``pretrained`` goes with overrides or a spec.

    >>> model = create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 8}, "decoder": "liif"})
    >>> model.decoder.in_channels
    8
    """
    from implicitkit.config import ModelSpec, validate

    if isinstance(model, str):
        entry, first = models.find(model)
        if pretrained:
            if overrides:
                raise ValueError(f"pretrained=True takes no overrides; received {', '.join(overrides)}")
            return load_pretrained(entry)
        spec: Any = {**named_spec(entry, *first), **overrides}
    else:
        if pretrained:
            raise ValueError("pretrained=True needs a model's name; a spec has no weights (see ik.load_model)")
        spec = {**model, **overrides} if isinstance(model, Mapping) else model
    return build_model(spec if isinstance(spec, ModelSpec) else validate(ModelSpec, spec, "model"))


def build_model(spec: ModelSpec, where: str = "model") -> ImplicitModel:
    """The model of a spec.

    ``in_channels`` of necks and decoder default to the features before them, and the decoder's ``NAME_channels``, if it
    takes that, to the values of the condition NAME.

    Raises:
        ConfigError: a part cannot be built; the message begins with its path, ``where`` included.
        ValueError: the parts do not fit.
    """
    from implicitkit.config import naming
    from implicitkit.images.filling import check_fill
    from implicitkit.model import ImplicitModel

    encoder_spec, decoder_spec = spec.encoder.as_dict(), spec.decoder.as_dict()
    encoder_trainable, decoder_trainable = encoder_spec.pop("trainable", None), decoder_spec.pop("trainable", None)
    if "mask" in spec.inputs:
        encoder_spec.setdefault("mask_channels", 1)
    with naming(f"{where}.encoder"):
        encoder = create_encoder(encoder_spec)
    refiners, channels = [], encoder.out_channels
    for k, named in enumerate(spec.neck):
        neck_spec = named.as_dict()
        trainable = neck_spec.pop("trainable", None)
        neck_spec.setdefault("in_channels", channels)
        with naming(f"{where}.neck" + (f".{k}" if len(spec.neck) > 1 else "")):
            neck = create_neck(neck_spec)
        if trainable is not None:
            neck.trainable = bool(trainable)
        refiners.append(neck)
        channels = neck.out_channels
    conditions = {
        name: build_model(condition, f"{where}.conditions.{name}") for name, condition in spec.conditions.items()
    }
    decoder_spec.setdefault("in_channels", channels)
    if encoder.ndim != 2:
        decoder_spec.setdefault("ndim", encoder.ndim)
    with naming(f"{where}.decoder"):
        for name in _told_widths(decoder_spec["name"], conditions):
            decoder_spec.setdefault(f"{name}_channels", conditions[name].decoder.out_channels)
        decoder = create_decoder(decoder_spec)
    for part, trainable in ((encoder, encoder_trainable), (decoder, decoder_trainable)):
        if trainable is not None:
            part.trainable = bool(trainable)
    with naming(f"{where}.fill"):
        fill = spec.fill if spec.fill is None else check_fill(spec.fill)
    return ImplicitModel(
        encoder,
        decoder,
        conditions,
        necks=refiners,
        inputs=spec.inputs,
        scales=spec.scales,
        passes=spec.passes,
        fill=fill,
    )


def _told_widths(decoder: str, conditions: Iterable[str]) -> list[str]:
    """The conditions of whose width a decoder wants to be told, as ``NAME_channels``."""
    entry, first = decoders.find(decoder)
    takes = parameter_names(decoders.resolve(entry), len(first)) or []
    return [name for name in conditions if f"{name}_channels" in takes]


def load_model(source: str | Path, *, device: Any = None, dtype: Any = None) -> ImplicitModel:
    """A model with its weights, in eval mode.

    Args:
        source: a native ``.safetensors`` file, an authors' ``.pth`` checkpoint (recognised by content, not by name),
            the name of a pretrained model (``"liif_small"``), or ``"local-dir:FOLDER"`` or
            ``"hf-hub:Organisation/name"`` (``@revision`` may follow), which hold a ``model.safetensors``. A bare
            ``"Organisation/name"`` that is no file and no registered name is a hub id too.
        device: where to put it: ``"cuda"``, ``"auto"`` (what there is), a ``torch.device`` (default: the CPU).
        dtype: of its weights: ``torch.bfloat16`` or ``torch.float16`` halve the memory, and fields compute in it
            (default: float32).

    Raises:
        WeightsError: the source does not exist, or cannot be read.
        UserError: the device is not available.

    >>> load_model("liif_small").scales
    (1.2, 4.0)
    """
    from implicitkit.devices import choose_device

    where = device if device is None else choose_device(str(device))  # before a long download
    return _load_model(source).to(device=where, dtype=dtype)


def _load_model(source: str | Path) -> ImplicitModel:
    from implicitkit.weights import from_folder, from_hub

    path, text = Path(source), str(source)
    if text.startswith(HUB_PREFIX):
        return load_file(from_hub(text.removeprefix(HUB_PREFIX)))
    if text.startswith(FOLDER_PREFIX):
        return load_file(from_folder(text.removeprefix(FOLDER_PREFIX)))
    if path.is_file() or path.is_fifo():
        return load_file(path)
    try:
        entry, _ = models.find(text)
    except UnknownNameError as unknown:
        looks_like_file = (
            path.suffix in FILE_SUFFIXES
            or text.startswith((".", "/", "~"))
            or (path.parent.parts != () and path.parent.is_dir())
        )
        if HUB_ID.fullmatch(text) and not looks_like_file:
            return load_file(from_hub(text))
        raise WeightsError(f"there is no file {text}" if looks_like_file else str(unknown)) from None
    return load_pretrained(entry)


def load_file(path: str | Path) -> ImplicitModel:
    """A model from a weight file of any known format, in eval mode.

    Raises:
        WeightsError: there is no such file, it cannot be read, or it does not fit its own spec.
    """
    from implicitkit.weights import read_checkpoint

    return build_checkpoint(read_checkpoint(path), str(path))


def load_pretrained(entry: Entry[Any]) -> ImplicitModel:
    """A named model with the weights that its distribution ships, or that are known and fetched.

    Raises:
        WeightsError: it has none, with the ``advice`` of the entry's metadata; or no source gives them.
    """
    if known := entry.metadata.get("known"):
        from implicitkit.weights.fetching import fetch

        return load_file(fetch(known))
    if not entry.metadata.get("pretrained"):
        names = ", ".join(models.names(pretrained=True)) or "none"
        advice = entry.metadata.get("advice", "train it with `implicitkit train`, or load a weight file of it")
        raise WeightsError(f"{entry.name} comes without weights; {advice} (models that come with weights: {names})")
    stored = shipped_file(entry)
    if not stored.is_file():
        raise WeightsError(
            f"the weights of {entry.name} are missing from this installation (looked for {stored}); "
            f"reinstall {entry.owner.distribution}"
        )
    return load_file(stored)


def load_encoder(path: str | Path) -> Encoder:
    """The encoder of a weight file, in eval mode; the file needs no decoder.

    Raises:
        WeightsError: the file cannot be read, or does not fit.
    """
    from implicitkit.weights import read_checkpoint
    from implicitkit.weights.native import fill

    checkpoint = read_checkpoint(path)
    encoder = create_encoder(checkpoint.spec["encoder"])
    own = {k.removeprefix("encoder."): v for k, v in checkpoint.tensors.items() if k.startswith("encoder.")}
    fill(encoder, own, str(path))
    return encoder.eval()


def build_checkpoint(checkpoint: Checkpoint, where: str) -> ImplicitModel:
    """Build and fill the model of a checkpoint, in eval mode; ``where`` names the file in errors.

    Raises:
        WeightsError: it holds an encoder alone, its spec cannot be built, or its tensors do not fit.
    """
    from implicitkit.weights.native import fill, fingerprint

    if "decoder" not in checkpoint.spec:
        raise WeightsError(
            f"{where} holds {checkpoint.layout} and no decoder; implicitkit.create.load_encoder reads it"
        )
    try:
        model = create_model(checkpoint.spec)
    except (UserError, ValueError) as error:
        raise WeightsError(f"{where}: {error}") from None
    tensors = dict(checkpoint.tensors)
    for part, origin in checkpoint.frozen.items():
        frozen = model.get_submodule(part)
        if fingerprint(frozen) != origin["sha256"]:
            raise WeightsError(
                f"{where} was saved with other weights of {origin['source']} for its {part}, and does not hold them"
            )
        tensors |= {f"{part}.{name}": value for name, value in frozen.state_dict().items()}
    fill(model, tensors, where)
    model.training_summary, model.license = dict(checkpoint.summary), checkpoint.license
    return model.eval()


def list_encoders(pattern: str | None = None) -> list[str]:
    """Names of encoders, all or those that match a shell-style pattern.

    >>> list_encoders("edsr*")
    ['edsr', 'edsr_baseline']
    """
    return encoders.names(pattern)


def list_decoders(pattern: str | None = None) -> list[str]:
    """Names of decoders.

    >>> list_decoders("l*")
    ['liif', 'linf', 'lm_liif', 'lmf', 'lte', 'lte_plus']
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

    >>> from implicitkit import Encoder
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
    """
    plugins.remove(plugin)

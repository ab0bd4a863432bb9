"""Create models by name or spec, and load them with their weights, from files, hubs and by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from implicitkit.create.parts import Spec, create_decoder, create_encoder, create_neck
from implicitkit.errors import UnknownNameError, UserError, WeightsError
from implicitkit.registry.arguments import parameter_names
from implicitkit.registry.kinds import decoders, models, named_spec, shipped_file
from implicitkit.registry.origins import missing
from implicitkit.registry.registry import Entry

if TYPE_CHECKING:
    import torch

    from implicitkit.config import ModelSpec
    from implicitkit.encoders.base import Encoder
    from implicitkit.model import ImplicitModel
    from implicitkit.weights.checkpoint import Checkpoint

HUB_PREFIX, FOLDER_PREFIX = "hf-hub:", "local-dir:"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")
FILE_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".onnx")


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
    """The conditions whose width a decoder takes as ``NAME_channels``."""
    entry, first = decoders.find(decoder)
    takes = parameter_names(decoders.resolve(entry), len(first)) or []
    return [name for name in conditions if f"{name}_channels" in takes]


def load_model(
    source: str | Path, *, device: str | torch.device | None = None, dtype: str | torch.dtype | None = None
) -> ImplicitModel:
    """A model with its weights, in eval mode.

    Args:
        source: a native ``.safetensors`` file, an authors' ``.pth`` checkpoint (recognised by content, not by name),
            the name of a pretrained model (``"liif_small"``), or ``"local-dir:FOLDER"`` or
            ``"hf-hub:Organisation/name"`` (``@revision`` may follow), which hold a ``model.safetensors``. A bare
            ``"Organisation/name"`` that is no file and no registered name is a hub id too.
        device: where to put it: ``"cuda"``, ``"auto"`` (what there is), a ``torch.device`` (default: the CPU).
        dtype: of its weights: ``torch.bfloat16`` or ``torch.float16``, or these names, halve the memory, and fields
            compute in it (default: float32).

    Raises:
        WeightsError: the source does not exist, or cannot be read.
        UserError: the device is not available.
        ValueError: the dtype is none of numbers with a fraction.

    >>> load_model("liif_small").scales
    (1.2, 4.0)
    """
    from implicitkit.devices import choose_device

    where = device if device is None else choose_device(str(device))  # before a long download
    number = as_dtype(dtype)
    return _load_model(source).to(device=where, dtype=number)


def as_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """A dtype, or its name, as PyTorch's.

    Raises:
        ValueError: it is none, or one of integers.

    >>> as_dtype("bfloat16"), as_dtype(None)
    (torch.bfloat16, None)
    """
    import torch

    chosen = getattr(torch, dtype.removeprefix("torch."), None) if isinstance(dtype, str) else dtype
    if dtype is None or (isinstance(chosen, torch.dtype) and chosen.is_floating_point):
        return chosen
    raise ValueError(f"dtype is torch.float32, torch.bfloat16 or torch.float16, or such a name; received {dtype!r}")


def _load_model(source: str | Path) -> ImplicitModel:
    from implicitkit.files import ADDRESS, home
    from implicitkit.weights import from_folder, from_hub

    text = str(source)
    path = home(text)
    if ADDRESS.match(text):
        raise WeightsError(f"{text} is an address, not a file; download it first, or pass hf-hub:Organisation/name")
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
        if path.is_dir():
            inside = ", ".join(sorted(file.name for file in path.glob("*") if file.suffix in FILE_SUFFIXES)[:5])
            raise WeightsError(
                f"{text} is a folder; name a file of weights in it ({inside or 'there is none'})"
            ) from None
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
        absent = missing(checkpoint.origins)
        raise WeightsError(f"{where}: {absent} ({error})" if absent else f"{where}: {error}") from None
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

"""Checkpoints of other repositories, read without executing code: those of :mod:`implicitkit.weights.layouts`.

The authors' file is a pickled ``{"model": {"name", "args", "sd"}, ...}``, mmagic's a ``{"state_dict", ...}``; bare
state dicts are read too, also of an encoder alone. The architecture follows from the tensors' shapes; ``args`` adds
what no shape shows (``local_ensemble``, ``res_scale``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from implicitkit.errors import WeightsError
from implicitkit.weights.checkpoint import Checkpoint
from implicitkit.weights.layouts import DECODERS, ENCODERS, NECKS, DecoderLayout, EncoderLayout, Tensors, renamed
from implicitkit.weights.layouts.flax import PREFIX, from_flax
from implicitkit.weights.pickled import read_pickled

# Tensors without effect on the forward pass: RGB mean shifts that are never called, buffers that window attention
# recomputes, mmagic's upsampling tail, which LIIF does not use, and a trainer's buffers.
UNUSED_TENSORS = re.compile(
    r"(encoder\.|srnet\.)?((sub|add)_mean\.(weight|bias)|layers\..*\.(attn_mask|relative_position_index))"
    r"|generator(_ema)?\.encoder\.(upsample|upscale|conv_last|output)\..*"
    r"|step_counter|data_preprocessor\..*"
)
WRAPPERS = ("params_ema", "state_dict", "sd", "params")  # basicsr keeps the moving average beside the weights
OF_ENCODER, OF_NECK = ("encoder.", "srnet."), "refine."  # how the names of their tensors begin
BARE_PREFIXES = ("conv_first.", "body.", "conv_after_body.")  # of an encoder that is no part of its own
PREFIXES = ("module.", "_orig_mod.")  # of DataParallel, and of torch.compile


def read_authors(path: str | Path) -> Checkpoint:
    """Read and recognise a ``.pth`` file.

    Raises:
        WeightsError: the file is damaged, needs to execute code, or has an unknown layout.
    """
    return recognise(read_pickled(path), str(path))


def recognise(content: Any, where: str) -> Checkpoint:
    """Recognise a checkpoint's content by its keys and shapes; ``where`` names it in errors."""
    name, args, state = _unwrap(content, where)
    if all(key.startswith(PREFIX) for key in state):
        state = from_flax(state)
    dropped = [key for key in state if UNUSED_TENSORS.fullmatch(key)]
    tensors = {key: value for key, value in state.items() if key not in dropped}
    from_mmagic = any(re.match(r"generator(_ema)?\.", key) for key in tensors)
    if from_mmagic:
        tensors, averaged_over = _mmagic(tensors)
        dropped += averaged_over
    decoder = next((layout for layout in DECODERS if layout.sign(tensors) and name in ("", *layout.registered)), None)
    parts = _split(tensors, decoder)
    encoder = next((layout for layout in ENCODERS if layout.sign in parts.encoder), None)
    if encoder is None or (decoder is None and (parts.decoder or name)):
        raise _unknown(where, name, tensors, encoder)
    unused = [key for key in parts.encoder if re.fullmatch(encoder.unused(parts.encoder), key)]
    dropped += [key if key in tensors else f"encoder.{key}" for key in unused]
    title = _title(encoder, decoder)
    try:
        spec, ours = _ours(encoder, decoder, parts, args, unused)
    except KeyError as error:
        raise WeightsError(f"{where}: looks like {title}, but lacks {error}") from None
    except WeightsError as error:
        raise WeightsError(f"{where}: looks like {title}, but {error}") from None
    except (AttributeError, IndexError, TypeError, ValueError, RuntimeError):
        raise WeightsError(f"{where}: looks like {title}, but its tensors or arguments have other forms") from None
    if decoder:
        authors = "jaewon-lee-b/lte" if encoder.title == "SwinIR" and "/liif" in decoder.authors else decoder.authors
        title += f" ({'mmagic' if from_mmagic else authors})"
    return Checkpoint(spec, ours, {"converted_from": title}, layout=title, dropped=tuple(dropped))


def _title(encoder: EncoderLayout, decoder: DecoderLayout | None) -> str:
    if decoder is None:
        return f"{encoder.title}, an encoder alone"
    return f"{decoder.title} with {encoder.title}"


def _is_a_pair(content: Any) -> bool:
    """Whether it holds a state dict of the encoder, and one of the decoder."""
    if not isinstance(content, Mapping) or set(content) != {"encoder", "decoder"}:
        return False
    return all(isinstance(inner, Mapping) for inner in content.values())


class _Parts(NamedTuple):
    """A file's tensors, those of each part without its prefix."""

    encoder: Tensors
    neck: Tensors
    decoder: Tensors


def _unwrap(content: Any, where: str) -> tuple[str, Mapping[str, Any], Tensors]:
    """``(name, args, state dict)`` of a file's content; name and args may be empty."""
    name, state = "", content
    args: Mapping[str, Any] = {}
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        state = content["model"]
        name, args = state.get("name", ""), state.get("args") or {}
    if _is_a_pair(content):
        both = {part: next((inner[k] for k in WRAPPERS if k in inner), inner) for part, inner in content.items()}
        state = {f"{part}.{key}": value for part, inner in both.items() for key, value in inner.items()}
    if isinstance(state, Mapping):
        state = next((state[key] for key in WRAPPERS if isinstance(state.get(key), Mapping)), state)
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        keys = ", ".join(map(str, list(content)[:8])) if isinstance(content, Mapping) else type(content).__name__
        raise WeightsError(
            f"{where}: expected {{'model': {{'name', 'args', 'sd'}}}}, {{'state_dict'}} or a state dict; "
            f"found {keys or 'nothing'}"
        )
    if not all(isinstance(key, str) for key in state):
        raise WeightsError(f"{where}: the names of its tensors are no texts; received {next(iter(state))!r}")
    for prefix in PREFIXES * 2:  # one inside the other, in either order
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return name, args, state


def _mmagic(tensors: Tensors) -> tuple[dict[str, Tensor], list[str]]:
    """mmagic's tensors with the authors' prefixes, and the omitted keys, whose moving average is in the file.

    Its LIIF also registers the encoder's layers as its own, without ``encoder.``.
    """
    averaged = any(key.startswith("generator_ema.") for key in tensors)
    prefix = "generator_ema." if averaged else "generator."
    omitted = [key for key in tensors if averaged and key.startswith("generator.")]
    prefixed: dict[str, Tensor] = {}
    for key, value in tensors.items():
        if key in omitted:
            continue
        inner = key.removeprefix(prefix)
        of_encoder = key != inner and not inner.startswith(("imnet", "cs_attn.", "encoder."))
        prefixed["encoder." + inner if of_encoder else inner] = value
    return prefixed, omitted


def _split(tensors: Tensors, decoder: DecoderLayout | None) -> _Parts:
    """The tensors by part. The encoder's begin with ``encoder.`` or ``srnet.``; without any prefix, those named as an
    encoder's are, or all if no decoder was recognised.
    """
    encoder, neck, others = {}, {}, {}
    prefixed = any(key.startswith(OF_ENCODER) for key in tensors)
    for key, value in tensors.items():
        if key.startswith(OF_ENCODER):
            encoder[key.partition(".")[2]] = value
        elif key.startswith(OF_NECK):
            neck[key.partition(".")[2]] = value
        elif prefixed or (decoder and not key.startswith(BARE_PREFIXES)):
            others[key] = value
        else:
            encoder[key] = value
    return _Parts(encoder, neck, others)


def _ours(
    encoder: EncoderLayout,
    decoder: DecoderLayout | None,
    parts: _Parts,
    args: Mapping[str, Any],
    unused: Sequence[str],
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The spec of a model (or of an encoder) and its tensors by our names."""
    rules = encoder.rules(parts.encoder)
    inner = encoder.after(renamed({key: v for key, v in parts.encoder.items() if key not in unused}, rules))
    told = args.get("encoder_spec") or args.get("srnet_spec") or {}
    spec = encoder.spec(encoder.after(renamed(parts.encoder, rules)), told.get("args") or {})
    features = spec[encoder.features]
    ours = {f"encoder.{key}": value for key, value in inner.items()}
    if decoder is None:
        return {"encoder": spec}, ours
    whole: dict[str, Any] = {"encoder": {**spec, **decoder.encoder}}
    if parts.neck:
        neck = next(layout for layout in NECKS if layout.sign in parts.neck)
        between = neck.after(renamed(parts.neck, neck.rules(parts.neck)))
        whole["neck"] = neck.spec(between)
        ours |= {f"necks.0.{key}": value for key, value in between.items()}
    outer = decoder.after(renamed(parts.decoder, decoder.rules(parts.decoder)), features)
    ours |= {f"decoder.{key}": value for key, value in outer.items()}
    whole["decoder"] = decoder.spec(outer, args, features)
    whole["encoder"] = decoder.fitted(whole["encoder"], whole["decoder"])
    return {**whole, "scales": list(decoder.scales)}, ours


def _unknown(where: str, name: str, tensors: Tensors, encoder: EncoderLayout | None) -> WeightsError:
    """The error for an unknown layout: the expected keys and the file's; of decoders alone if the encoder is known."""
    quoted = f" {name!r}" if name else ""
    known = f" with the encoder {encoder.title}" if encoder else ""
    kinds = (DECODERS,) if encoder else (ENCODERS, DECODERS)
    expected = " and ".join("; or ".join(f"{layout.keys} ({layout.title})" for layout in kind) for kind in kinds)
    keys = sorted(key for key in tensors if not (encoder and key.startswith("encoder.")))
    some = ", ".join(keys[:6] + ["…"] * (len(keys) > 6)) or "no others"
    return WeightsError(
        f"{where}: unknown layout{quoted}{known}; expected {expected}; found {some} (tensors: {len(keys)})"
    )

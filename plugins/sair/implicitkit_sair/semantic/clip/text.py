"""Words in the space of a CLIP encoder's features."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from implicitkit import Encoder, ImplicitModel, UserError, WeightsError
from implicitkit.errors import first_line
from implicitkit_sair.semantic.clip.encoder import CLIP
from implicitkit_sair.semantic.clip.templates import named_templates
from implicitkit_sair.semantic.clip.towers import Recipe, recipe, text_tower

TEMPLATES = ("a photo of a {}.",)
BATCH = 64  # prompts through the text tower at a time

_lock = threading.Lock()
_known: dict[tuple[Any, ...], Tensor] = {}
_tower: tuple[tuple[Any, ...], Any, Any] | None = None  # identity, tower and tokenizer last asked; 250 MB for ViT-B-16


def encode_text(
    encoder: Encoder | ImplicitModel,
    prompts: Sequence[str],
    templates: Sequence[str] | str = TEMPLATES,
    weights: str | None = None,
) -> Tensor:
    """The embedding of each prompt, to be compared with the features of a ``clip`` encoder.

    Each template is filled with the prompt; the embeddings are normalised, averaged over the templates, and normalised
    again (Radford et al., section 3.1.4). The text tower belongs to no model: it is built and read when it is first
    asked, and what it said is kept, so that asking again costs nothing.

    Args:
        encoder: a ``clip`` encoder, or a model that has one, itself or among its conditions.
        prompts: class names, or anything that fits the templates.
        templates: sentences with ``{}`` where the prompt goes; ``("{}",)`` takes prompts as they are; ``"clip"`` and
            ``"maskclip"`` are the 80 and 85 of their authors.
        weights: a tag, hub id or file as the encoder's ``pretrained``, if the encoder came from a saved model, which
            holds no text tower.

    Returns:
        ``(len(prompts), embedding width)`` float32, of length 1 each, on the encoder's device.

    Raises:
        ValueError: no prompts, a template without ``{}``, or a model without a ``clip`` encoder.
        WeightsError: the text tower's weights cannot be had.
    """
    clip = _clip_of(encoder)
    if isinstance(templates, str):
        templates = named_templates(templates) or templates
    if isinstance(prompts, str) or isinstance(templates, str) or not prompts or not templates:
        raise ValueError(f"prompts and templates are lists of sentences; received {prompts!r} and {templates!r}")
    without = [template for template in templates if "{}" not in template]
    if without:
        raise ValueError(f"a template has {{}} where the prompt goes; received {without[0]!r}")
    made = _with_text(clip, weights)
    identity = _identity(made)
    keys = [(identity, tuple(templates), prompt) for prompt in prompts]
    with _lock:
        new = list(dict.fromkeys(prompt for key, prompt in zip(keys, prompts, strict=True) if key not in _known))
        if new:
            sentences = [template.replace("{}", prompt) for prompt in new for template in templates]
            embedded = _embed(made, identity, sentences).unflatten(0, (len(new), len(templates)))
            averaged = F.normalize(F.normalize(embedded, dim=-1).mean(1), dim=-1)
            _known.update(
                {(identity, tuple(templates), prompt): row for prompt, row in zip(new, averaged, strict=True)}
            )
        embeddings = torch.stack([_known[key] for key in keys])
    return embeddings.to(next(clip.parameters()).device)


def _clip_of(encoder: nn.Module) -> CLIP:
    """The encoder, or the only one within a model."""
    if isinstance(encoder, CLIP):
        return encoder
    if isinstance(encoder, ImplicitModel):
        clips = [part for part in encoder.modules() if isinstance(part, CLIP)]
        if len(clips) == 1:
            return clips[0]
        raise ValueError(f"a text is embedded for the one clip encoder of a model; this model has {len(clips)}")
    raise ValueError(f"only a clip encoder has words; received {type(encoder).__name__}")


def _with_text(clip: CLIP, weights: str | None) -> Recipe:
    if weights is not None:
        import open_clip

        name = clip.recipe.name  # a tag belongs to a name
        model = name if name in open_clip.list_models() else clip.recipe.config
        return recipe(model, weights, clip.recipe.quick_gelu)
    if clip.recipe.file is None:
        raise WeightsError(
            f"this clip encoder ({clip.recipe.name}) was built without a weight file, or came with a saved model, so "
            "its text tower is not at hand; pass weights=, the file that its image tower is from"
        )
    return clip.recipe


def _identity(made: Recipe) -> tuple[str, int, int, bool]:
    """What tells one text tower from another: the file as it is now, and the activation."""
    assert made.file is not None
    try:
        state = made.file.stat()
    except OSError:
        raise WeightsError(f"there is no file {made.file} any more, and the text tower is in it") from None
    return str(made.file.resolve()), state.st_mtime_ns, state.st_size, made.quick_gelu


@torch.no_grad()
def _embed(made: Recipe, identity: tuple[Any, ...], sentences: list[str]) -> Tensor:
    """Text embeddings ``(len(sentences), width)``, on the CPU, as the tower gives them."""
    global _tower
    if _tower is None or _tower[0] != identity:
        built: Any = text_tower(made)
        _tower = identity, built, _tokenizer(made)
    _, tower, tokenizer = _tower
    with torch.autocast("cpu", enabled=False):
        parts = [
            tower.encode_text(tokenizer(sentences[start : start + BATCH])) for start in range(0, len(sentences), BATCH)
        ]
    return torch.cat(parts).float()


def _tokenizer(made: Recipe) -> Any:
    import open_clip

    text = made.config["text_cfg"]
    length = text.get("context_length", 77)
    if not text.get("hf_tokenizer_name"):
        return open_clip.SimpleTokenizer(context_length=length, **text.get("tokenizer_kwargs", {}))
    try:
        return open_clip.tokenizer.HFTokenizer(
            text["hf_tokenizer_name"],
            context_length=length,
            tokenizer_mode=text.get("tokenizer_mode"),
            **text.get("tokenizer_kwargs", {}),
        )
    except Exception as error:  # no transformers, no network, ...
        reason = first_line(error)
        raise UserError(
            f"the words of {made.name} need the tokenizer {text['hf_tokenizer_name']} of Hugging Face's transformers, "
            f"which cannot be had ({reason}); give embeddings made elsewhere, in a file "
            "(implicitkit_sair.semantic.class_embeddings)"
        ) from None

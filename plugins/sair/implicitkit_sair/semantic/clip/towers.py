"""open_clip's two towers, each built alone: what they are made of, and where their weights come from."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from implicitkit import UnknownNameError, UserError, WeightsError
from implicitkit.errors import first_line, nearest, quiet
from implicitkit.weights import fill, is_safetensors
from implicitkit_sair.semantic.clip.timm_towers import allow_any_size, check_tower, is_timms, patch_of, takes
from implicitkit_sair.semantic.state_dicts import read_entries, read_state_dict

DEFAULT_TOWER = "ViT-B-16"
HUB = "hf-hub:"
OPENAI_ENTRIES = ("input_resolution", "context_length", "vocab_size")  # numbers beside the weights in OpenAI's files
OTHER_ATTENTION = ("qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn")
# of an image tower without words, which open_clip builds beside it all the same: made as small as it gets, and dropped
NO_TEXT = {"layers": 1, "width": 1, "heads": 1, "context_length": 1, "vocab_size": 1}


@dataclass(frozen=True)
class Recipe:
    """What a CLIP is built from."""

    name: str
    """For messages: the model's name, or the hub id."""
    config: dict[str, Any]
    """As in open_clip's JSON files: ``embed_dim``, ``vision_cfg``, ``text_cfg``."""
    quick_gelu: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    file: Path | None = None
    """Its weights, both towers; None for random ones."""
    public: bool = False
    """Whether the weights came from where anybody can get them."""


def recipe(model: str | Mapping[str, Any], pretrained: str | None, quick_gelu: bool | None) -> Recipe:
    """Find out what to build, and fetch the weights if they are not here.

    Args:
        model: open_clip's name of an architecture, or what its JSON file holds.
        pretrained: a tag of that model, ``hf-hub:Organisation/Name`` or a file; None for random weights.
        quick_gelu: the activation; None takes what the weights are known to be trained with.

    Raises:
        UnknownNameError: open_clip has no such model.
        WeightsError: the weights cannot be had, or ``quick_gelu`` is needed, or wrong.
    """
    import open_clip

    if pretrained is not None and pretrained.startswith(HUB):
        return _from_hub(model, pretrained, quick_gelu)
    name, config = configuration(model)
    mean, std = _usual(model, name)
    named = bool(config.get("quick_gelu", False))
    if pretrained is None:
        return Recipe(name, config, named if quick_gelu is None else quick_gelu, mean, std)
    tag = {} if isinstance(model, Mapping) else open_clip.get_pretrained_cfg(name, pretrained)
    if tag:
        quick_gelu = _agreed(quick_gelu, bool(tag.get("quick_gelu", False)), f"{name} {pretrained!r}")
        return Recipe(
            name, config, quick_gelu, tuple(tag["mean"]), tuple(tag["std"]), _fetch(name, pretrained, tag), True
        )
    file = Path(pretrained).expanduser()
    if not file.is_file():
        tags = [] if isinstance(model, Mapping) else open_clip.list_pretrained_tags_by_model(name)
        raise WeightsError(
            f"there is no file {pretrained}, and no weights of that name for {name}; pretrained= takes a .pt or "
            f".safetensors file, {HUB}Organisation/Name, or one of open_clip's tags: {', '.join(tags) or 'none'}"
        )
    if not quick_gelu and (named or any(key in OPENAI_ENTRIES for key in read_entries(file))):
        quick_gelu = _agreed(quick_gelu, True, pretrained)
    if quick_gelu is None and config["vision_cfg"].get("timm_model_name"):
        quick_gelu = named  # timm's networks say themselves what they are made of
    if quick_gelu is None:
        raise WeightsError(
            f"{file} does not say whether it was trained with QuickGELU, as OpenAI's weights were, or with GELU, "
            "as most others; pass quick_gelu=true or quick_gelu=false"
        )
    return Recipe(name, config, quick_gelu, mean, std, file)


def configuration(model: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and open_clip configuration of an architecture."""
    import open_clip

    if isinstance(model, Mapping):
        lacking = [key for key in ("embed_dim", "vision_cfg") if key not in model]
        if lacking:
            raise UserError(
                f"a CLIP configuration has embed_dim, vision_cfg and text_cfg; received {', '.join(map(str, model))}"
            )
        return "the given configuration", deepcopy(dict(model))
    if model.startswith(HUB):
        raise UserError(f"a hub id is a source of weights: write pretrained={model}")
    name = model.replace("/", "-")  # OpenAI writes ViT-B/16
    config = open_clip.get_model_config(name)
    if config is None:
        near = nearest(name, open_clip.list_models(), count=3)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise UnknownNameError(f"open_clip has no model {model!r}{hint} (open_clip.list_models() names them)")
    return name, config


def _usual(model: str | Mapping[str, Any], name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the model's known weights, if all were trained with the same; else OpenAI's."""
    import open_clip

    tags = [] if isinstance(model, Mapping) else open_clip.list_pretrained_tags_by_model(name)
    entries = [open_clip.get_pretrained_cfg(name, tag) for tag in tags]
    known = {(tuple(entry["mean"]), tuple(entry["std"])) for entry in entries}
    if len(known) == 1:
        return known.pop()
    return tuple(open_clip.OPENAI_DATASET_MEAN), tuple(open_clip.OPENAI_DATASET_STD)


def image_tower(made: Recipe) -> nn.Module:
    """The image tower, filled if there are weights.

    Raises:
        UserError: its last layer is none that the dense modes know.
        WeightsError: the file cannot be read, or does not fit.
    """
    vision = made.config["vision_cfg"]
    if vision.get("attentional_pool"):
        raise UserError(f"{made.name} pools its patches by attention, so that none of them is aligned with text")
    unknown = [option for option in OTHER_ATTENTION if vision.get(option)]
    if unknown:
        raise UserError(f"the blocks of {made.name} have {', '.join(unknown)}, which the dense modes do not know")
    state = None if made.file is None else read_state_dict(made.file, beside=OPENAI_ENTRIES)
    both = state is not None and any(not key.startswith("visual.") for key in state) and "logit_scale" in state
    alone = not both or not _has_plain_text(made)
    tower: nn.Module = (_build(made, _without_weights(vision), NO_TEXT) if alone else _whole(made)).visual
    if is_timms(tower):
        check_tower(tower, made.name)
        allow_any_size(tower)
    if state is not None and alone:
        own = {key.removeprefix("visual."): value for key, value in state.items() if key.startswith("visual.")}
        fill(tower, own or state, str(made.file))  # without any prefix, it holds the image tower alone
    return tower


def takes_any_size(made: Recipe) -> bool:
    """Whether an image tower that is timm's sees pictures of any size, in whole cells; found without weights."""
    with torch.device("meta"):
        trial = _build(made, _without_weights(made.config["vision_cfg"]), NO_TEXT).visual.eval()
    patch = patch_of(trial)[0]
    return all(takes(trial, size) for size in ((patch, 2 * patch), (3 * patch, patch)))


def _without_weights(vision: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration that lets timm fetch nothing: the weights are open_clip's."""
    return {**vision, **({"timm_model_pretrained": False} if vision.get("timm_model_name") else {})}


def text_tower(made: Recipe) -> nn.Module:
    """The text tower with its weights, frozen, in eval mode: open_clip's model without its image tower.

    Raises:
        UserError: it is not open_clip's own.
        WeightsError: there are no weights, or they do not fit.
    """
    if not _has_plain_text(made):
        what = (
            "has a text tower that is not open_clip's plain one" if made.config.get("text_cfg") else "has no text tower"
        )
        raise UserError(f"{made.name} {what}; give embeddings made elsewhere, in a file of classes")
    if made.file is None:
        raise WeightsError(f"{made.name} was built without a weight file, so it has no text tower to embed words with")
    model = _whole(made)
    del model.visual
    frozen: nn.Module = model.requires_grad_(False)
    return frozen


def _has_plain_text(made: Recipe) -> bool:
    text = (made.config or {}).get("text_cfg") or {}
    return bool(text) and not text.get("hf_model_name") and not text.get("embed_cls")


def _whole(made: Recipe) -> Any:
    """Both towers, built and loaded by open_clip itself, in eval mode."""
    import open_clip

    assert made.file is not None
    entries = read_entries(made.file)  # which refuses what would execute code
    config = {**made.config, "quick_gelu": made.quick_gelu}
    if any(name.startswith("text.") for name in entries):
        config["custom_text"] = True
    if "logit_bias" in entries:
        config.setdefault("init_logit_bias", 0.0)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}), encoding="utf-8")
        as_it_is = folder / (
            "open_clip_model.safetensors" if is_safetensors(made.file) else "open_clip_pytorch_model.bin"
        )
        if any(name in OPENAI_ENTRIES for name in entries):  # open_clip takes them for weights
            save_file({k: v for k, v in entries.items() if k not in OPENAI_ENTRIES}, folder / "model.safetensors")
        else:
            try:
                as_it_is.symlink_to(made.file.resolve())
            except OSError:  # Windows, without the right to make links
                shutil.copyfile(made.file, as_it_is)
        try:
            with quiet("root", "timm"):
                return open_clip.create_model(f"local-dir:{folder}", pretrained_text=False).eval()
        except RuntimeError as error:
            why = " ".join(str(error).split()).partition("state_dict for ")[2]
            raise WeightsError(f"{made.file} does not fit the model {shortened(why or str(error))}") from None
        except Exception as error:  # whatever a configuration that does not hold makes torch or open_clip raise
            raise UserError(f"open_clip cannot build {made.name}: {first_line(error)}") from None


def shortened(text: str) -> str:
    """A message of PyTorch's with three names of each long list.

    >>> shortened('Missing key(s): "a", "b", "c", "d", "e".')
    'Missing key(s): "a", "b", "c" and 2 more.'
    """

    def few(found: re.Match[str]) -> str:
        names = found[0].split(", ")
        return f"{', '.join(names[:3])} and {len(names) - 3} more"

    return re.sub(r'"[^"]*"(?:, "[^"]*"){3,}', few, text)


def _build(made: Recipe, vision: Mapping[str, Any], text: Mapping[str, Any]) -> Any:
    import open_clip

    try:
        return open_clip.CLIP(made.config["embed_dim"], dict(vision), dict(text), quick_gelu=made.quick_gelu)
    except Exception as error:  # whatever a configuration that does not hold makes torch or open_clip raise
        raise UserError(f"open_clip cannot build {made.name}: {first_line(error)}") from None


def _from_hub(model: str | Mapping[str, Any], pretrained: str, quick_gelu: bool | None) -> Recipe:
    import open_clip

    def download(file: str) -> Path:
        return _download(pretrained, f"{file} of {repository}", lambda: fetch(repository, file))

    fetch, repository = open_clip.pretrained.download_pretrained_from_hf, pretrained.removeprefix(HUB)
    described = json.loads(download("open_clip_config.json").read_text(encoding="utf-8"))
    config, seen_as = described.get("model_cfg", described), described.get("preprocess_cfg", {})
    if model != DEFAULT_TOWER and configuration(model)[1]["vision_cfg"] != config["vision_cfg"]:
        raise UserError(f"{pretrained} holds another architecture than the given model; leave model= out")
    return Recipe(
        pretrained,
        config,
        _agreed(quick_gelu, bool(config.get("quick_gelu", False)), pretrained),
        tuple(seen_as.get("mean", open_clip.OPENAI_DATASET_MEAN)),
        tuple(seen_as.get("std", open_clip.OPENAI_DATASET_STD)),
        download(open_clip.constants.HF_WEIGHTS_NAME),
        True,
    )


def _fetch(name: str, tag: str, entry: Mapping[str, Any]) -> Path:
    """The file of an open_clip tag, from a cache or the net; rather a ``.safetensors`` than a pickle."""
    import open_clip

    repository, _, file = str(entry.get("hf_hub", "")).rpartition("/")
    what = f"{file or open_clip.constants.HF_WEIGHTS_NAME} of {repository}" if repository else str(entry.get("url"))
    return _download(f"{name} {tag!r}", what, lambda: open_clip.download_pretrained(dict(entry)))


def _download(weights: str, file: str, fetch: Callable[[], str]) -> Path:
    """What ``fetch`` returns, its failure as one line."""
    from huggingface_hub import constants

    try:
        with quiet("timm", "huggingface_hub"):
            return Path(fetch())
    except Exception as error:  # open_clip, the hub's client and urllib raise many kinds
        raise WeightsError(
            f"the weights {weights} need {file}, which is not in {constants.HF_HUB_CACHE} and cannot be downloaded "
            f"({first_line(error)}); download it elsewhere and pass pretrained=/path/to/the/file, or put it into the "
            "cache"
        ) from None


def _agreed(asked: bool | None, known: bool, where: str) -> bool:
    if asked is not None and asked != known:
        trained = "QuickGELU" if known else "GELU"
        raise WeightsError(f"{where} was trained with {trained}; received quick_gelu={asked} (leave it out)")
    return known


def as_list(values: Sequence[float] | float) -> list[float] | float:
    """A mean or deviation as JSON has it."""
    return float(values) if isinstance(values, (int, float)) else [float(v) for v in values]

"""timm's networks as they were trained: how one is built, and where its weights come from."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from implicitkit import UnknownNameError, UserError, WeightsError, list_weights
from implicitkit.errors import first_line, nearest, quiet
from implicitkit.files import cache_folder
from implicitkit.weights import fetch, fill, known_file

FOLDER, HUB = "local-dir:", "hf-hub:"
FILES = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth")  # of a folder, the best first
# what timm's families call "takes pictures of any size"
ANY_SIZE: tuple[dict[str, bool], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})
# layers behind the features; a file may hold them all the same
HEADS = ("head", "head_dist", "fc", "fc_norm", "classifier", "attn_pool", "mask_token", "norm", "conv_head", "bn2")


def build(model: str, options: Mapping[str, Any], pretrained: bool = False) -> Any:
    """timm's network without a classifier, for any picture size as far as its family has an option for that.

    Args:
        model: timm's name, ``hf-hub:Organisation/Name`` or ``local-dir:/folder``, whose ``config.json`` is read.
        options: further arguments of ``timm.create_model``.
        pretrained: let timm fetch the weights.

    Raises:
        UnknownNameError: timm has no such model; the message lists near names.
        WeightsError: the weights, or the folder, cannot be had.
        UserError: timm cannot build it so.
    """
    import timm

    _check_name(model)
    for any_size in ANY_SIZE:
        try:
            with quiet("timm", "huggingface_hub"):
                return timm.create_model(model, pretrained=pretrained, num_classes=0, **{**any_size, **options})
        except TypeError as error:
            if not any(f"'{option}'" in str(error) for option in any_size):
                raise UserError(f"timm cannot build {model!r}: {first_line(error)}") from None
        except Exception as error:  # timm and the hub's client raise many kinds
            if pretrained or model.startswith(HUB):
                raise WeightsError(
                    f"cannot get {model!r} and its weights ({first_line(error)}); without a network, give "
                    "model: local-dir:/FOLDER, or timm's name and weights: FILE"
                ) from None
            raise UserError(f"timm cannot build {model!r}: {first_line(error)}") from None
    raise AssertionError("the last setting has no option that could be refused")


def named_weights(name: str) -> tuple[str, str | None]:
    """The ``model`` and the ``weights`` that a name of ``implicitkit weights list`` stands for; fetched if not here.

    Raises:
        WeightsError: its sources cannot be reached, or it fills none of timm's networks.
    """
    known = known_file(name)
    if not known.timm:
        timms = [other for other in list_weights() if known_file(other).timm]
        raise WeightsError(f"{name} is {known.task}, no network of timm's; these are: {', '.join(timms)}")
    path = fetch(name)
    return (f"{FOLDER}{path}", None) if path.is_dir() else (known.timm, str(path))


def known_for(model: str) -> str | None:
    """The name among ``implicitkit weights list`` that fills timm's ``model``, if there is one."""
    return next((name for name in list_weights() if known_file(name).timm == model), None)


def located(model: str, sha256: str | None) -> str:
    """``model``, its folder looked for: as it is, or, where its weights' hash is known, in the cache folder.

    Raises:
        WeightsError: there is no such folder.
    """
    if not model.startswith(FOLDER):
        return model
    folder = _found(Path(model.removeprefix(FOLDER)).expanduser(), sha256)
    if not (folder / "config.json").is_file():
        raise WeightsError(f"there is no folder {folder} with timm's config.json and model.safetensors{_where(sha256)}")
    return f"{FOLDER}{folder}"


def weight_file(model: str, weights: str | None, sha256: str | None) -> Path | None:
    """The file to fill a network from; None where timm fetches the weights, or there are none to be.

    Raises:
        WeightsError: there is no such file, or its content is not what ``sha256`` says.
    """
    file: Path | None = None
    if weights is not None:
        file = _found(Path(weights).expanduser(), sha256)
        if not file.is_file():
            raise WeightsError(f"there is no file {weights}; weights: is a .safetensors or .pth file{_where(sha256)}")
    elif model.startswith(FOLDER):
        folder = Path(model.removeprefix(FOLDER))
        file = next((folder / name for name in FILES if (folder / name).is_file()), None)
        if file is None:
            raise WeightsError(f"the folder {folder} holds no weights; one of {', '.join(FILES)} is looked for")
    if sha256 is None:
        return file
    if file is None:
        raise WeightsError(f"sha256 is of a file; {model!r} is fetched by its name (give local-dir: or weights: FILE)")
    received = _digest(file)
    if received != sha256.lower():
        raise WeightsError(f"{file} has the SHA-256 {received}, not {sha256}: it holds other weights")
    return file


def own_size(net: Any, state: Mapping[str, Tensor]) -> int | None:
    """The picture size, in pixels, that a table of positions in ``state`` is of; None if it is the network's."""
    table = state.get("pos_embed")
    mine = getattr(net, "pos_embed", None)
    if table is None or mine is None or table.ndim != 3 or mine.ndim != 3 or table.shape == mine.shape:
        return None
    grid = net.patch_embed.grid_size
    before = mine.shape[1] - grid[0] * grid[1]
    side = math.isqrt(table.shape[1] - before)
    return side * int(net.patch_embed.feat_ratio()) if side * side == table.shape[1] - before else None


def load(net: nn.Module, state: dict[str, Tensor], file: Path) -> None:
    """Fill a network from the content of ``file``, in timm's layout or one that timm can translate; a classifier is
    left out.

    Raises:
        WeightsError: it does not fit.
    """
    own = net.state_dict()
    if not own.keys() <= state.keys():
        translate = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)
        if translate is not None:
            try:
                state = dict(translate(dict(state), net))
            except Exception as error:  # whatever a file of another network makes it stumble over
                raise WeightsError(f"{file} does not fit the network ({first_line(error)})") from None
    heads = {str(c) for c in _tuple(getattr(net, "pretrained_cfg", {}).get("classifier"))} | set(HEADS)
    own_state = {key: value for key, value in state.items() if key in own or key.split(".")[0] not in heads}
    for key, value in own.items():  # a count that inference does not read, and old files lack
        if key.endswith("num_batches_tracked"):
            own_state.setdefault(key, value)
    fill(net, own_state, str(file))


def saved_arguments(model: str) -> dict[str, Any]:
    """The arguments that a hub or folder model was saved with."""
    if model.startswith(FOLDER):
        config = json.loads((Path(model.removeprefix(FOLDER)) / "config.json").read_text(encoding="utf-8"))
        return dict(config.get("model_args") or {})
    from timm.models import load_model_config_from_hf

    return dict(load_model_config_from_hf(model.removeprefix(HUB))[2] or {})


def _check_name(model: str) -> None:
    """Raise ``UnknownNameError`` for a name that is timm's in form but not in fact."""
    import timm

    architecture, _, _ = model.partition(".")
    if ":" in model or timm.is_model(architecture):
        return
    near = nearest(model, timm.list_models(), count=3)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise UnknownNameError(f"timm has no model {model!r}{hint} (timm.list_models() names them)")


def _found(path: Path, sha256: str | None) -> Path:
    """``path``, or what has its name among the weights of the cache folder, if a hash tells that it is the same."""
    if path.exists() or sha256 is None:
        return path
    cached = cache_folder() / "weights" / path.name
    return cached if cached.exists() else path


def _where(sha256: str | None) -> str:
    return f" (nor is it in {cache_folder() / 'weights'}, where one with its sha256 is looked for)" if sha256 else ""


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _tuple(value: Any) -> tuple[Any, ...]:
    return () if value is None else tuple(value) if isinstance(value, (list, tuple)) else (value,)

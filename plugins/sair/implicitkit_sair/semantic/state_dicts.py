"""Weight files of other projects: a state dict, as it is or within a checkpoint, read without executing anything."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from implicitkit import WeightsError
from implicitkit.weights import is_safetensors, read_pickled

WEIGHT_KEYS = ("state_dict", "model", "teacher")  # where checkpoints hold the weights


def read_state_dict(file: Path, beside: Collection[str] = ()) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` or ``.pt`` file by name; entries named in ``beside`` are left out.

    Raises:
        WeightsError: there is no such file, it is damaged, holds something else, or reading it would execute code.
    """
    content = read_entries(file)
    state = {key: value for key, value in content.items() if key not in beside}
    if state and all(isinstance(value, Tensor) for value in state.values()):
        return state
    raise WeightsError(f"{file} is no state dict, names and tensors; found {', '.join(list(content)[:6]) or 'nothing'}")


def read_entries(file: Path) -> dict[str, Any]:
    """What a file holds by name, be it tensors or not; of a checkpoint, what its weights' entry holds.

    Raises:
        WeightsError: there is no such file, it is damaged, or reading it would execute code.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not file.is_file():
        raise WeightsError(f"there is no file {file}")
    content: Any
    if is_safetensors(file):
        try:
            content = load_file(str(file))
        except SafetensorError as error:
            raise WeightsError(f"{file} is not a whole safetensors file: {error}") from None
    else:
        try:
            content = read_pickled(file)
        except WeightsError as error:
            if "TorchScript" not in str(error):
                raise
            raise WeightsError(
                f"{file} is a TorchScript program, which is not run to get at its weights; pass a state dict (OpenAI's "
                "is on the hub: pretrained=openai)"
            ) from None
    for key in WEIGHT_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise WeightsError(f"{file} is no state dict, names and tensors; found {type(content).__name__}")
    return {str(key).removeprefix("module."): value for key, value in content.items()}

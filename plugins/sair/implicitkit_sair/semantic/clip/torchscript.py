"""OpenAI's own weight files, which are TorchScript archives: the tensors are taken out, the program is left alone.

Such an archive is a zip of ``data.pkl``, a tree of modules with tensors as leaves, the tensors' bytes as ``data/0``,
``data/1``, ..., and code. PyTorch loads all of it or nothing; here the tree is read by an unpickler that knows tensors
and bare modules and refuses everything else, so that nothing of the file's is executed.
"""

from __future__ import annotations

import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from implicitkit import WeightsError

DTYPES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")
NO_WEIGHTS = "attn_mask"  # a constant that the text tower computes anew


def is_torchscript(file: Path) -> bool:
    """Whether the file is a zip that holds a program beside its tensors."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return False
    return any(name.endswith("/constants.pkl") for name in names) and any("/code/" in name for name in names)


def read_torchscript(file: Path) -> dict[str, Tensor]:
    """The tensors of a TorchScript archive by their dotted names.

    Raises:
        WeightsError: the file is damaged, or its tree holds what is neither a module nor a tensor nor a plain value.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            folder = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
            with archive.open(folder + "data.pkl") as tree:
                root = _Reader(tree, archive, folder).load()
        return dict(_leaves(root, ""))
    except WeightsError as error:
        raise WeightsError(f"{file}: {error}") from None
    except Exception as error:  # a damaged zip, pickle or tensor raises nearly anything
        raise WeightsError(f"{file} is not a whole TorchScript archive ({type(error).__name__}: {error})") from None


class _Module:
    """A module of the archive's program, of which only the attributes are taken."""


class _Reader(pickle.Unpickler):
    def __init__(self, tree: IO[bytes], archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(tree)
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "__torch__":
            return _Module
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch.jit._pickle" and name in LISTS:
            return list
        if (module, name) == ("torch.jit._pickle", "restore_type_tag"):
            return _untagged
        raise WeightsError(f"refers to {module}.{name}; reading it could execute code, so it is refused")

    def persistent_load(self, reference: Any) -> Tensor:
        _, dtype, key, _, count = reference
        content = bytearray(self._archive.read(f"{self._folder}data/{key}"))
        return torch.frombuffer(content, dtype=dtype, count=count) if count else torch.empty(0, dtype=dtype)


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    """One tensor of a storage; PyTorch checks that it lies within."""
    if not math.prod(size):
        return storage.new_empty(size)
    return storage.as_strided(size, stride, offset).clone()


def _untagged(value: Any, _: str) -> Any:
    """A list or dictionary, whose type in the program does not matter here."""
    return value


def _leaves(module: _Module, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, value in vars(module).items():
        if isinstance(value, Tensor) and name != NO_WEIGHTS:
            yield prefix + name, value
        elif isinstance(value, _Module):
            yield from _leaves(value, f"{prefix}{name}.")

"""PyTorch's own files, read without executing code."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from implicitkit.errors import UserError, WeightsError, describe
from implicitkit.files import describe_content


def read_pickled(path: str | Path) -> Any:
    """The content of a ``.pth`` file of tensors and plain values, on the CPU.

    Raises:
        WeightsError: there is no such file, it is damaged, or reading it would execute code.
    """
    try:
        what = describe_content(path)
        if what is not None and what != "a ZIP archive":  # torch.save makes one
            raise WeightsError(f"{path} is {what}; weights are .safetensors or .pth files")
        if what is not None:
            _check_archive(path)
        elif not _begins_a_pickle(path):
            raise WeightsError(f"{path} is no file of weights in a known format (.safetensors, or .pth of PyTorch)")
        with Path(path).open("rb") as file, warnings.catch_warnings():  # a file object: torch.load guesses from a name
            warnings.simplefilter("ignore")  # about sparse and quantised tensors; we say what is wrong with them
            return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"there is no file {path}") from None
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        name = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"refers to {name[1]}" if name else "holds more than tensors and plain values"
        raise WeightsError(f"{path} {reason}; reading it could execute code, so it is refused") from None
    except Exception as error:
        raise WeightsError(f"{path} cannot be read as a checkpoint: {describe(error)}") from None


def _check_archive(path: str | Path) -> None:
    """Raise :class:`WeightsError` unless a ZIP archive is one of ``torch.save``."""
    if not zipfile.is_zipfile(path):
        raise WeightsError(f"{path} is a damaged or incomplete file: the end of its archive is missing")
    with zipfile.ZipFile(path) as archive:
        inside = {name.partition("/")[2] for name in archive.namelist()}
    if "constants.pkl" in inside:
        raise WeightsError(f"{path} is a TorchScript program, which holds code; save its state_dict()")
    if "data.pkl" not in inside:
        raise WeightsError(f"{path} is a ZIP archive, not a file of weights; unpack it")


def _begins_a_pickle(path: str | Path) -> bool:
    """Whether a file begins as pickles of protocol 2 and later do, as ``torch.save`` writes them."""
    with Path(path).open("rb") as file:
        head = file.read(2)
    return head[:1] == b"\x80" and 2 <= head[-1] <= 5

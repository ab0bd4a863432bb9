"""PyTorch's own files, read without executing code."""

from __future__ import annotations

import pickle
import re
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
        if what is not None and not zipfile.is_zipfile(path):
            raise WeightsError(f"{path} is a damaged or incomplete file: the end of its archive is missing")
        with Path(path).open("rb") as file:  # a file object: torch.load guesses from a name
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

"""Class embeddings in files: a row for each class, said by a text tower elsewhere, or found without words.

``.npy`` is a floating-point array ``(classes, width)``. ``.safetensors`` holds one such tensor, under any name, and may
say what its rows are called: ``names`` in its metadata, a JSON list.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from implicitkit import WeightsError
from implicitkit.errors import first_line


def read_classes(file: str | Path, width: int | None = None) -> tuple[list[str] | None, Tensor]:
    """What the file calls its rows, or None, and the rows: ``(classes, width)``, normalised, float32.

    Args:
        file: ``.npy`` or ``.safetensors``, of any floating-point type.
        width: how wide they must be to fit an encoder.

    Raises:
        WeightsError: there is no such file, it holds something else, or its names are not one for each row.
    """
    names, rows = _from_safetensors(Path(file)) if Path(file).suffix == ".safetensors" else (None, _from_npy(file))
    if width is not None and rows.shape[1] != width:
        raise WeightsError(f"{file} holds embeddings of width {rows.shape[1]}; the features have {width}")
    if not len(rows) or not rows.isfinite().all() or not rows.any(dim=1).all():
        raise WeightsError(f"{file} holds no embedding, or one that is zero or not finite")
    return names, F.normalize(rows, dim=-1)


def write_classes(file: Path, names: Sequence[str], embeddings: Tensor, metadata: Mapping[str, str]) -> None:
    """Write ``embeddings`` ``(len(names), width)`` as a ``.safetensors`` file that :func:`read_classes` reads."""
    from safetensors.torch import save

    from implicitkit.files import replacing

    with replacing(file) as temporary:
        temporary.write_bytes(
            save(
                {"embeddings": embeddings.float().cpu().contiguous()},
                {**metadata, "names": json.dumps(list(names), ensure_ascii=False)},
            )
        )


def _from_npy(file: str | Path) -> Tensor:
    try:
        array = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise WeightsError(f"there is no file {file}") from None
    except (OSError, ValueError, EOFError) as error:
        raise WeightsError(f"{file} cannot be read as a .npy array: {first_line(error)}") from None
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f":
        what = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else "an archive of arrays"
        raise _other(file, what)
    return torch.from_numpy(array.astype(np.float32))


def _from_safetensors(file: Path) -> tuple[list[str] | None, Tensor]:
    from safetensors.torch import load_file

    from implicitkit.weights import read_metadata

    if not file.is_file():
        raise WeightsError(f"there is no file {file}")
    told, tensors = read_metadata(file).get("names"), list(load_file(str(file)).values())
    if len(tensors) != 1:
        raise _other(file, f"{len(tensors)} tensors")
    rows = tensors[0]
    if rows.ndim != 2 or not rows.is_floating_point():
        raise _other(file, f"{str(rows.dtype).removeprefix('torch.')} {tuple(rows.shape)}")
    if told is None:
        return None, rows.float()
    try:
        names = json.loads(told)
    except ValueError:
        names = told
    if not isinstance(names, list) or len(names) != len(rows) or not all(isinstance(name, str) for name in names):
        raise WeightsError(f"{file} has {len(rows)} embeddings, and its names are not a list of as many: {told[:60]}")
    return names, rows.float()


def _other(file: str | Path, what: str) -> WeightsError:
    return WeightsError(f"{file} should hold floating-point embeddings (classes, width); it holds {what}")

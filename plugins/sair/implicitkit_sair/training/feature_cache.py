"""A frozen encoder's features on disk, found again by what they were made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from implicitkit import Encoder
from implicitkit.files import cache_folder, replacing
from implicitkit.weights import fingerprint


class FeatureCache:
    """The maps of ``encoder``, one file per picture in the user's cache folder, under ``features``.

    A file's name is a hash of the encoder's spec, of its weights and of the picture's values, so that nothing stale can
    be read: other weights, another mode or another picture is another file. Maps are kept in float32, so that
    a map read is the map that was made. Files appear whole or not at all; one that cannot be read is made
    again. They are never deleted: the cache is for pictures that come back, not for random crops.

    Args:
        encoder: frozen, and built by name: its spec is part of the key.

    Raises:
        ValueError: the encoder was built by hand.
    """

    def __init__(self, encoder: Encoder) -> None:
        spec = getattr(encoder, "spec", None)
        if spec is None:
            raise ValueError(
                f"features are cached under their encoder's spec, and {type(encoder).__name__} was not built by name; "
                "use ik.create_encoder(...), or cache=False"
            )
        self._identity = f"{json.dumps(spec, sort_keys=True, default=str)}|{fingerprint(encoder)}"

    def __call__(self, x: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """The map ``(B, C, *cells)`` of the encoder's input ``x`` ``(B, C, H, W)``.

        ``compute`` makes it, of those pictures alone whose maps are not stored yet.
        """
        files = [self._file(picture) for picture in x]
        maps = [_read(file) for file in files]
        missing = [k for k, map in enumerate(maps) if map is None]
        if missing:
            computed = compute(x[missing]).float().cpu()
            for k, map in zip(missing, computed, strict=True):
                maps[k] = map
                _write(files[k], map)
        return torch.stack([map for map in maps if map is not None]).to(x.device)

    def _file(self, picture: Tensor) -> Path:
        key = hashlib.blake2b(f"{self._identity}|{tuple(picture.shape)}".encode(), digest_size=16)
        key.update(picture.detach().float().cpu().contiguous().numpy().tobytes())
        return cache_folder() / "features" / f"{key.hexdigest()}.safetensors"


def _read(file: Path) -> Tensor | None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(str(file)).get("map")
    except (SafetensorError, OSError):  # missing, truncated or damaged: compute it again
        return None


def _write(file: Path, map: Tensor) -> None:
    from safetensors.torch import save

    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        temporary.write_bytes(save({"map": map.contiguous()}))

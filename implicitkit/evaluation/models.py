"""Score models on a test set in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from implicitkit.create import create_protocol, load_model
from implicitkit.devices import choose_device
from implicitkit.errors import UserError
from implicitkit.evaluation.protocol import Protocol
from implicitkit.evaluation.row_names import row_names
from implicitkit.evaluation.scores import Metrics, Scores
from implicitkit.model import ImplicitModel

Models = Mapping[str, str | Path | ImplicitModel] | Sequence[str | Path | ImplicitModel] | str | Path | ImplicitModel


def evaluate(
    models: Models,
    data: str | Path,
    protocol: str | Mapping[str, Any] | Protocol = "benchmark",
    *,
    metrics: Metrics | None = None,
    device: str | torch.device | None = None,
    tile: int | None = None,
    progress: Callable[[int, str], Any] | None = None,
    **options: Any,
) -> Scores:
    """Score models and a method that needs no training on a test set, as ``implicitkit evaluate`` does.

    Args:
        models: a model, its name or file; several in a list; or a mapping, row -> model.
        data: the folder of the test set.
        protocol: a name or spec of ``ik.list_protocols()``, or a protocol.
        metrics: names, specs or metrics (default: the protocol's).
        device: where to compute (default: where a model is; files and names: the best device there is).
        tile: encode in tiles of this many pixels.
        progress: called with the number of examples done and a note on the current one.
        options: of the protocol, such as ``scales=[2, 4]``.

    Returns:
        The scores: ``scores.table()`` prints them, ``scores.means()[row][setting][metric]`` has the means, and
        ``scores.values`` every picture's.

    Raises:
        DataError: ``data`` is not a test set for the protocol.
        UserError: a model cannot be scored by it, or two rows have one name.

    >>> from implicitkit.files import ASSETS
    >>> evaluate("liif_small", ASSETS, "plain", scales=[8], metrics=["psnr"])
    Scores(bicubic, liif_small; ×8; psnr; 1 pictures)
    """
    rows = _rows(models)
    loaded = {row: _load(model, device) for row, model in rows.items()}
    if isinstance(protocol, Protocol):
        if options:
            raise UserError(f"the protocol is built already; it takes no {', '.join(options)}")
        chosen = protocol
    else:
        chosen = create_protocol(protocol, **options)
    return chosen.evaluate(
        loaded, Path(data).expanduser(), metrics=metrics, encode={"tile": tile} if tile else None, progress=progress
    )


def _rows(models: Models) -> dict[str, str | Path | ImplicitModel]:
    if isinstance(models, Mapping):
        return dict(models)
    listed = [models] if isinstance(models, str | Path | ImplicitModel) else list(models)
    names = [_name(model) for model in listed]
    if all(isinstance(model, str | Path) for model in listed):
        names = row_names(names)
    if len(set(names)) < len(names):
        raise UserError(f"two models are called {max(names, key=names.count)}; pass a mapping, row -> model")
    return dict(zip(names, listed, strict=True))


def _name(model: str | Path | ImplicitModel) -> str:
    if not isinstance(model, ImplicitModel):
        return str(model)
    encoder, decoder = model.encoder.spec, model.decoder.spec
    return f"{encoder['name']}-{decoder['name']}" if encoder and decoder else type(model).__name__


def _load(model: str | Path | ImplicitModel, device: str | torch.device | None) -> ImplicitModel:
    if isinstance(model, ImplicitModel):
        return model if device is None else model.to(choose_device(str(device)))
    return load_model(str(model)).to(choose_device("auto" if device is None else str(device)))

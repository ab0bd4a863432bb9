"""Twins of a semantic encoder for studies: its network and cost, and something else than the picture's own meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from implicitkit import Encoder, UserError, create_encoder
from implicitkit.images import picture_files, read_picture

Kind = Literal["random", "shuffled", "blind"]
KINDS = ("random", "shuffled", "blind")
MAX_OTHERS, OTHERS_SIDE = 8, 96  # pictures of ``others``, and the side at which they are kept


def twin(
    of: Mapping[str, Any] | str = "mae_small",
    kind: Kind = "random",
    seed: int = 0,
    others: str | None = None,
    mask_channels: int = 0,
) -> Encoder:
    """The encoder ``of``, frozen, with one thing changed; what a SAIR with it falls short of is what that is worth.

    Its parameters keep their names, so that ``weights:`` of a training fills it as it fills the encoder itself.

    Args:
        of: the name or spec of a semantic encoder.
        kind: ``"random"``: nothing has been learnt, the weights are drawn from ``seed``. ``"shuffled"``: of a batch,
            each picture gets its neighbour's meaning, in its loss as in its input; a picture that comes alone gets that
            of one of ``others``. ``"blind"``: the picture is grey, so that masks and places are all there is.
        seed: of ``"random"``.
        others: of ``"shuffled"``, a folder of pictures; the first eight are used.
        mask_channels: 1 if the mask comes with the picture.

    Raises:
        ValueError: there is no such kind, or ``of`` names weights for ``"random"``.
        UserError: ``"shuffled"`` without others.

    Example:
        >>> import torch
        >>> encoder = twin({"name": "mae_small", "depth": 1}, "blind").eval()
        >>> torch.equal(encoder(torch.rand(1, 3, 16, 16)).map, encoder(torch.rand(1, 3, 16, 16)).map)
        True
    """
    if kind not in KINDS:
        raise ValueError(f"the kind of a twin is one of {', '.join(KINDS)}; received {kind!r}")
    spec: dict[str, Any] = {"name": of} if isinstance(of, str) else dict(of)
    told = [key for key in ("weights", "pretrained") if spec.get(key)]
    if kind == "random" and told:
        raise ValueError(f"a random twin has learnt nothing; take {told[0]} out of its encoder")
    if mask_channels:
        spec["mask_channels"] = mask_channels
    with torch.random.fork_rng(enabled=kind == "random"):
        if kind == "random":
            torch.manual_seed(seed)
        encoder = create_encoder(spec)
    encoder.trainable = False
    if kind == "random":
        encoder.learnt = True  # in that it is what it is meant to be
    encoder.portable = partial(_portable, encoder.portable, spec)  # type: ignore[method-assign]
    if kind == "shuffled":
        encoder.register_buffer("others", _pictures(others), persistent=False)
        encoder.source = None  # a file of it is to hold its weights
        encoder.register_forward_pre_hook(_shuffle)
    elif kind == "blind":
        encoder.register_forward_pre_hook(_blind)
    return encoder


def _blind(encoder: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    colours = int(encoder.in_channels)  # type: ignore[arg-type]
    return (torch.cat([torch.full_like(given[0][:, :colours], 0.5), given[0][:, colours:]], 1),)


def _shuffle(encoder: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    colours, others = int(encoder.in_channels), encoder.others  # type: ignore[arg-type]
    assert isinstance(others, Tensor)
    pictures, mask = given[0][:, :colours], given[0][:, colours:]
    if len(pictures) > 1:
        return (torch.cat([pictures.roll(1, 0), mask], 1),)
    place = int(pictures.detach().double().sum() * 1e3) % len(others)  # the same picture meets the same other
    other = F.interpolate(others[place][None].to(pictures), pictures.shape[2:], mode="bilinear")
    return (torch.cat([other, mask], 1),)


def _pictures(folder: str | None) -> Tensor:
    if folder is None:
        raise UserError("a shuffled twin takes others: FOLDER, pictures whose meaning a picture gets that comes alone")
    pictures = [read_picture(file).rgb()[None] for file in picture_files([Path(folder)])[:MAX_OTHERS]]
    return torch.cat([F.interpolate(x, (OTHERS_SIDE, OTHERS_SIDE), mode="bilinear", antialias=True) for x in pictures])


def _portable(
    own: Callable[[dict[str, Any]], dict[str, Any]], of: dict[str, Any], spec: dict[str, Any]
) -> dict[str, Any]:
    return {**spec, "of": own(of)}

"""A small vision transformer that is pre-trained without labels, as a masked autoencoder (He et al., CVPR 2022)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from einops import rearrange
from torch import Tensor, nn

from implicitkit import WeightsError
from implicitkit_sair.semantic.base import SemanticEncoder
from implicitkit_sair.semantic.filling import Fill, check_fill
from implicitkit_sair.semantic.vit import Block, cells

FORMAT = "implicitkit-sair mae_small"
DEFAULT_SIZES = {"patch": 8, "width": 192, "depth": 8, "heads": 3}
NUMBERS = (*DEFAULT_SIZES, "out_channels")


class MAESmall(SemanticEncoder):
    """A ViT of 3.6 M parameters: semantic features of one's own domain, without a download.

    ``implicitkit pretrain-mae FOLDER -o mae.safetensors`` makes its weights; without any, its features are those of a
    random network. It is frozen unless a spec says ``trainable: true``. Positions are relative, so a picture may
    have any size; attention is global, and so is the encoder.

    Args:
        patch: side of a patch, and the stride, pixels (default: that of ``weights``, else 8).
        width: of the tokens; a multiple of four times ``heads`` (likewise, else 192).
        depth: number of blocks (likewise, else 8).
        heads: attention heads per block (likewise, else 3).
        out_channels: features per cell (likewise, else ``width``). Another number than the width is a linear map of
            them, which is learnt in pre-training as well.
        weights: a file made by ``pretrain-mae``, which says what these five are. A saved model holds the weights
            itself.
        mask_channels: 1 if the mask comes with the picture; it tells which pixels to replace, see ``fill``.
        fill: what the network sees in a hole: ``"mean"`` grey, ``"zero"`` black, ``"blur"`` its surroundings;
            ``"harmonic"`` and ``"biharmonic"`` as solved for.
        largest: a picture whose longer side has more pixels is seen shrunk to that, and its features are stretched
            back: attention costs the square of the number of patches, and shapes have the size they are known at.

    Raises:
        WeightsError: the file is missing, is of another kind, or is of a network with other numbers than are given.
    """

    def __init__(
        self,
        patch: int | None = None,
        width: int | None = None,
        depth: int | None = None,
        heads: int | None = None,
        out_channels: int | None = None,
        weights: str | None = None,
        mask_channels: int = 0,
        fill: Fill = "mean",
        largest: int = 512,
    ) -> None:
        super().__init__()
        given = {"patch": patch, "width": width, "depth": depth, "heads": heads, "out_channels": out_channels}
        self.architecture = architecture({k: n for k, n in given.items() if n is not None}, weights)
        patch, width, depth, heads, out_channels = self.architecture.values()
        if min(patch, width, depth, out_channels) < 1 or mask_channels not in (0, 1) or largest < patch:
            raise ValueError(
                "mae_small takes patch, width, depth and out_channels >= 1, mask_channels 0 or 1, largest >= patch; "
                f"received {patch}, {width}, {depth}, {out_channels}, {mask_channels} and {largest}"
            )
        check_fill(fill, "mae_small", drop=False)
        self.mask_channels, self.out_channels = mask_channels, out_channels
        self.stride = self.size_multiple = patch
        self.fill, self.largest = fill, largest
        self.embed = nn.Conv2d(self.in_channels, width, patch, stride=patch)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.project = nn.Identity() if out_channels == width else nn.Linear(width, out_channels)
        if weights is not None:
            load(self, weights)  # through load_state_dict

    def portable(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Its weights are in the file that it was saved in, so it asks for no other, and says what they are of."""
        kept = {key: argument for key, argument in spec.items() if key != "weights"}
        return {**kept, **self.architecture} if spec.get("weights") is not None else kept

    def see(self, x: Tensor) -> Tensor:
        height, width = (n // self.stride for n in x.shape[2:])
        features = self.attend(self.tokens(x), cells(height, width, x.device))
        map: Tensor = rearrange(features, "b (h w) c -> b c h w", h=height)
        return map

    def tokens(self, x: Tensor) -> Tensor:
        """The patches of a normalised picture ``(B, 3, H, W)``, embedded, row by row: ``(B, N, width)``."""
        embedded: Tensor = rearrange(self.embed(x), "b c h w -> b (h w) c")
        return embedded

    def attend(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """The features ``(B, N, out_channels)`` of patches ``(B, N, width)`` at ``positions`` ``(N, 2)`` or
        ``(B, N, 2)``; of any of a picture's patches, which then see each other only.
        """
        for block in self.blocks:
            tokens = block(tokens, positions)
        features: Tensor = self.project(self.norm(tokens))
        return features


def architecture(given: Mapping[str, int], weights: str | Path | None) -> dict[str, int]:
    """The five numbers of a network: those given, those of a weight file, those that are usual.

    Raises:
        WeightsError: the file is missing or of another kind, or what is given contradicts it.
    """
    stored = {} if weights is None else _stored(Path(weights))
    other = [key for key, value in given.items() if key in stored and stored[key] != value]
    if other:
        raise WeightsError(
            f"{weights} is of another mae_small: "
            + ", ".join(f"{key} is {stored[key]} there and {given[key]} here" for key in other)
            + "; leave out what the file says itself"
        )
    known = {**DEFAULT_SIZES, **stored, **given}
    known.setdefault("out_channels", known["width"])
    return {key: known[key] for key in NUMBERS}


def load(encoder: MAESmall, weights: str | Path) -> None:
    """Fill an encoder from a file that ``pretrain-mae`` wrote."""
    from safetensors.torch import load_file

    from implicitkit.weights import fill

    fill(encoder, load_file(str(weights)), str(weights))


def _stored(file: Path) -> dict[str, int]:
    """What a file that ``pretrain-mae`` wrote says of its network."""
    from implicitkit.weights import read_metadata

    if not file.is_file():
        raise WeightsError(f"there is no file {file}; implicitkit pretrain-mae FOLDER -o {file} makes one")
    metadata = read_metadata(file)
    if metadata.get("format") != FORMAT:
        raise WeightsError(f"{file} holds no weights of mae_small (its format: {metadata.get('format', 'none')})")
    try:
        told = json.loads(metadata["architecture"])
        return {key: int(told[key]) for key in NUMBERS}
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{file}: its metadata is damaged ({type(error).__name__}: {error})") from None

"""The masked autoencoder that ``mae_small`` is pre-trained in (He et al., CVPR 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from implicitkit_sair.semantic.mae import MAESmall
from implicitkit_sair.semantic.vit import Block, cells


class MaskedAutoencoder(nn.Module):
    """An encoder that is given some of a picture's patches, and a small decoder that says what the others hold.

    The decoder reads the encoder's features, one token at each hidden patch that says no more than that, and where
    each of them is.

    Args:
        encoder: learns.
        width: of the decoder's tokens.
        depth: number of its blocks.
        heads: attention heads of each.
    """

    def __init__(self, encoder: MAESmall, width: int = 96, depth: int = 2, heads: int = 3) -> None:
        super().__init__()
        self.encoder = encoder
        self.embed = nn.Linear(encoder.out_channels, width)
        self.hidden_token = nn.Parameter(torch.randn(width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, encoder.in_channels * encoder.stride**2)

    def forward(self, picture: Tensor, hidden: float, generator: torch.Generator) -> Tensor:
        """The mean squared error at the hidden patches, a scalar; what is predicted is each patch with its own mean
        and variance taken out.

        Args:
            picture: ``(B, 3, H, W)`` in [0, 1], sizes multiples of the patch.
            hidden: fraction of the patches that is hidden; at least one is, and at least one is not.
            generator: of the CPU; draws which.
        """
        encoder = self.encoder
        normalised = encoder.normalise(picture)
        height, width = (n // encoder.stride for n in picture.shape[2:])
        count, kept = height * width, min(height * width - 1, max(1, round((1 - hidden) * height * width)))
        order = torch.rand(len(picture), count, generator=generator).argsort(dim=1).to(picture.device)
        shown, away = order[:, :kept], order[:, kept:]

        positions = cells(height, width, picture.device)
        features = encoder.attend(pick(encoder.tokens(normalised), shown), positions[shown])
        tokens = self.hidden_token.expand(len(picture), count, -1)
        tokens = tokens.scatter(1, shown[..., None].expand(-1, -1, tokens.shape[-1]), self.embed(features))
        for block in self.blocks:
            tokens = block(tokens, positions)
        predicted = self.head(self.norm(pick(tokens, away)))
        return F.mse_loss(predicted, pick(patches(normalised, encoder.stride), away))


def pick(tokens: Tensor, which: Tensor) -> Tensor:
    """Of ``tokens`` ``(B, N, C)`` those at the indices ``(B, K)``: ``(B, K, C)``."""
    return tokens.gather(1, which[..., None].expand(-1, -1, tokens.shape[-1]))


def patches(picture: Tensor, side: int) -> Tensor:
    """The patches of ``(B, C, H, W)``, row by row, each with mean 0 and variance 1: ``(B, N, C * side**2)``."""
    flat = rearrange(picture, "b c (h y) (w x) -> b (h w) (c y x)", y=side, x=side)
    return (flat - flat.mean(-1, keepdim=True)) / (flat.var(-1, keepdim=True, unbiased=False) + 1e-6).sqrt()

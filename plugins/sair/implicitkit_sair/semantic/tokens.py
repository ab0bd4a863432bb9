"""The tokens of timm's plain vision transformers, of any picture size and of some patches only.

What timm's own ``forward_features`` does, step by step, for :class:`timm.models.vision_transformer.VisionTransformer`
and :class:`timm.models.eva.Eva`; nothing here has a state.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from implicitkit_sair.semantic.dropping import Kept

LastBlock = Callable[[nn.Module, Tensor], Tensor]


@dataclass(frozen=True)
class Tokens:
    """What comes out of the blocks, after the final norm."""

    all: Tensor
    """``(B, prefix + K, C)``: class and register tokens, then the patches that took part."""
    prefix: int
    cells: tuple[int, int]
    kept: Kept | None

    def map(self, patches: Tensor) -> Tensor:
        """Something of each patch that took part ``(B, K, D)`` as a map ``(B, D, rows, columns)``, zero elsewhere."""
        whole = patches if self.kept is None else self.kept.spread(patches)
        grid: Tensor = rearrange(whole, "b (h w) c -> b c h w", h=self.cells[0])
        return grid

    @property
    def patches(self) -> Tensor:
        """``(B, K, C)``."""
        return self.all[:, self.prefix :]


def is_plain(net: nn.Module) -> bool:
    """Whether the network is one whose steps are known here; a subclass may do other ones."""
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    return type(net) in (VisionTransformer, Eva)


def plain_tokens(
    net: Any, x: Tensor, kept: Kept | None = None, antialias: bool = True, last_block: LastBlock | None = None
) -> Tokens:
    """Run a plain vision transformer.

    Args:
        net: timm's ``VisionTransformer`` or ``Eva``.
        x: ``(B, 3, H, W)``, normalised; H and W are multiples of the patch.
        kept: the patches that take part; None for all.
        antialias: how position embeddings are resized, see :func:`positions`.
        last_block: what to do in place of the last block, given the block and its input.
    """
    if kept is not None and kept.real is not None and (x.device.type == "cpu" or not _takes_mask(net.blocks[-1])):
        cells = tuple(net.patch_embed.dynamic_feat_size(tuple(x.shape[2:])))
        tokens = kept.apart(
            lambda which, same: plain_tokens(net, x[which], same, antialias, last_block).all, net.num_prefix_tokens
        )
        return Tokens(tokens, net.num_prefix_tokens, cells, kept)
    return run_blocks(net, x, kept, antialias, last_block)


def run_blocks(
    net: Any, x: Tensor, kept: Kept | None = None, antialias: bool = True, last_block: LastBlock | None = None
) -> Tokens:
    """:func:`plain_tokens` of the whole batch at once; of pictures that keep fewer patches than others, a mask hides
    the places to spare.
    """
    patches, cells = _embed(net, x)
    before, table = positions(net, cells, antialias)
    patches = patches if table is None else patches + table.to(patches.dtype)
    prefix = _prefix(net, len(x), before)
    tokens = torch.cat([*prefix, patches if kept is None else kept.pick(patches)], dim=1)
    tokens = net.norm_pre(net.pos_drop(tokens))
    rope = _rope(net, cells, kept)
    keys = None if kept is None else kept.keys(net.num_prefix_tokens)
    for k, block in enumerate(net.blocks):
        if last_block is not None and k == len(net.blocks) - 1:
            tokens = last_block(block, tokens)
            continue
        arguments = {} if rope is None else {"rope": rope[k] if getattr(net, "rope_mixed", False) else rope}
        tokens = block(tokens, **arguments, **({} if keys is None else {"attn_mask": keys}))
    return Tokens(net.norm(tokens), net.num_prefix_tokens, cells, kept)


def positions(net: Any, cells: tuple[int, int], antialias: bool) -> tuple[Tensor | None, Tensor | None]:
    """The position embeddings of class and register tokens ``(1, prefix, C)`` and of ``cells`` patches ``(1, N, C)``.

    Of another grid than the network's own they are resized bicubically: antialiased as timm does, or not, as DINOv2's
    authors do. Either is None where the network has none.
    """
    if net.pos_embed is None:
        return None, None
    count = 0 if net.no_embed_class else net.num_prefix_tokens
    before, table = net.pos_embed[:, :count], net.pos_embed[:, count:]
    native = tuple(net.patch_embed.grid_size)
    if native != cells:
        grid = rearrange(table.float(), "b (h w) c -> b c h w", h=native[0])
        resized = F.interpolate(grid, cells, mode="bicubic", antialias=antialias)
        table = rearrange(resized, "b c h w -> b (h w) c").to(table.dtype)
    return (before if count else None), table


def _embed(net: Any, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Patches ``(B, N, C)`` without positions, and how they lie."""
    embedded: Tensor = net.patch_embed(x)
    if embedded.ndim == 4:  # (B, rows, columns, C), as of a network for any size
        return embedded.flatten(1, 2), (embedded.shape[1], embedded.shape[2])
    rows, columns = net.patch_embed.dynamic_feat_size(tuple(x.shape[2:]))
    return embedded, (rows, columns)


def _prefix(net: Any, count: int, before: Tensor | None) -> list[Tensor]:
    """Class and register tokens ``(count, prefix, C)``, with their positions if they have any."""
    extra_tokens = [token for token in (net.cls_token, net.reg_token) if token is not None]
    if not extra_tokens:
        return []
    tokens = torch.cat(extra_tokens, dim=1)
    tokens = tokens if before is None else tokens + before
    return [tokens.expand(count, -1, -1)]


def _rope(net: Any, cells: tuple[int, int], kept: Kept | None) -> Tensor | None:
    """Rotary positions of the patches that take part, as the blocks take them; one for each block if they are mixed."""
    if getattr(net, "rope", None) is None:
        return None
    rotary = net.rope
    fixed = getattr(rotary, "feat_shape", None)
    if fixed is not None and tuple(fixed) != cells:  # made for one size; a copy, as others may be reading this one
        rotary = deepcopy(rotary)
        rotary.update_feat_shape(list(cells))
    rope: Tensor = rotary.get_embed(shape=list(cells))
    if kept is None:
        return rope
    picked = rope[..., kept.places, :]  # ([depth, heads,] B, K, D)
    return picked.transpose(1, 2) if getattr(net, "rope_mixed", False) else picked[:, None]


def _takes_mask(block: nn.Module) -> bool:
    return "attn_mask" in inspect.signature(type(block).forward).parameters

"""open_clip's image towers that are timm's (SigLIP, EVA02, MobileCLIP, PE, ViTamin, ConvNeXt) as dense features.

A tower is a trunk and what its pooling makes of the tokens. Each patch's feature is what the tower would say of a
picture that were that patch all over, in this sense:

========== =========================================================================================================
pooling    a patch's feature
========== =========================================================================================================
map        the value path of the attention pool, its other layers following: what attention over one token gives
token      the last block's value path in place of attention (MaskCLIP), then what the class token goes through
mean       the cell itself, then what the mean goes through: a projection, linear or an MLP
========== =========================================================================================================

Everything here is a function of open_clip's ``TimmModel`` and a tensor; nothing has a state.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from implicitkit import UserError
from implicitkit_sair.semantic.dropping import Kept
from implicitkit_sair.semantic.tokens import is_plain, plain_tokens, run_blocks


def is_timms(tower: nn.Module) -> bool:
    """Whether an image tower of open_clip is timm's."""
    return hasattr(tower, "trunk")


def check_tower(tower: Any, name: str) -> None:
    """Refuse a tower whose pooling has no counterpart for one patch.

    Raises:
        UserError: it is such a tower.
    """
    from timm.layers.attention_pool import AttentionPoolLatent
    from timm.models.eva import EvaBlock, EvaBlockPostNorm
    from timm.models.vision_transformer import Block

    trunk, reason = tower.trunk, ""
    pool = getattr(trunk, "attn_pool", None)
    if hasattr(tower.head, "pool"):
        reason = "pools its cells by an attention of fixed size"
    elif pool is not None and (not isinstance(pool, AttentionPoolLatent) or pool.latent_len != 1):
        reason = "pools its patches by an attention that is not known here"
    elif _pooling(trunk) == "token" and type(trunk.blocks[-1]) not in (Block, EvaBlock, EvaBlockPostNorm):
        reason = f"ends with a {type(trunk.blocks[-1]).__name__}, which has no value path known here"
    if reason:
        raise UserError(f"the image tower of {name} {reason}, so that none of its patches is aligned with text")


def allow_any_size(tower: Any) -> None:
    """Let a plain transformer embed pictures of other sizes than its own, which open_clip does not ask of timm."""
    if is_plain(tower.trunk):
        tower.trunk.patch_embed.strict_img_size = False


def patch_of(tower: Any) -> tuple[int, int]:
    """The sides of a patch, or of a cell of the last map, in pixels."""
    if is_plain(tower.trunk):
        rows, columns = tower.trunk.patch_embed.feat_ratio(as_scalar=False)
        return int(rows), int(columns)
    reduction = int(tower.trunk.feature_info[-1]["reduction"])
    return reduction, reduction


def takes(trial: Any, size: tuple[int, int]) -> bool:
    """Whether a tower on the meta device, where tensors have shapes but no values, sees pictures of ``size``."""
    patch = patch_of(trial)
    try:
        with torch.no_grad():
            map = dense_timm(trial, torch.empty(1, 3, *size, device="meta"))
    except Exception:  # an assertion, or whatever the layer that does not fit raises
        return False
    return tuple(map.shape[2:]) == tuple(n // side for n, side in zip(size, patch, strict=True))


def dense_timm(tower: Any, x: Tensor, kept: Kept | None = None) -> Tensor:
    """Text-aligned features of every patch, or of those that are kept, zero elsewhere.

    Args:
        tower: open_clip's ``TimmModel``.
        x: ``(B, 3, H, W)``, normalised; H and W are multiples of the patch.
        kept: of a plain transformer, the patches that take part.

    Returns:
        ``(B, embedding width, rows, columns)``.
    """
    trunk = tower.trunk
    if not is_plain(trunk):
        return _cell_by_cell(tower, trunk.forward_features(x), x.shape[2:])
    pooling = _pooling(trunk)
    tokens = plain_tokens(trunk, x, kept, last_block=value_block if pooling == "token" else None)
    patches = tokens.patches
    if pooling == "map":
        patches = _pooled_alone(trunk.attn_pool, patches)
    return tokens.map(tower.head(trunk.head(trunk.fc_norm(patches))))


def pooled_timm(tower: Any, x: Tensor, kept: Kept | None = None) -> Tensor:
    """The picture's embedding ``(B, embedding width)`` as the tower itself makes it, of the patches that are kept."""
    if kept is None:
        whole: Tensor = tower(x)
        return whole
    trunk = tower.trunk

    def run(which: Tensor, same: Kept) -> Tensor:
        tokens = run_blocks(trunk, x[which], same).all
        pooled: Tensor = tower.head(trunk.forward_head(tokens))
        return pooled[:, None]

    return kept.apart(run, prefix=1)[:, 0]


def value_block(block: Any, tokens: Tensor) -> Tensor:
    """A last block whose attention is the identity: its values and output projection act on each token alone."""
    if hasattr(block, "ls1"):
        tokens = tokens + block.ls1(_values(block.attn, block.norm1(tokens)))
        out: Tensor = tokens + block.ls2(block.mlp(block.norm2(tokens)))
        return out
    if not hasattr(block, "gamma_1"):  # Eva's post-norm block
        tokens = tokens + block.norm1(_values(block.attn, tokens))
        out = tokens + block.norm2(block.mlp(tokens))
        return out
    tokens = tokens + _scaled(_values(block.attn, block.norm1(tokens)), block.gamma_1)
    return tokens + _scaled(block.mlp(block.norm2(tokens)), block.gamma_2)


def unused_timm(tower: Any) -> list[nn.Parameter]:
    """The parameters that dense features do not depend on."""
    trunk = tower.trunk
    if not is_plain(trunk):
        return []
    pooling = _pooling(trunk)
    parts: list[Any] = []
    if pooling == "map":
        pool = trunk.attn_pool
        parts = [pool.latent, pool.q, pool.q_norm, pool.k_norm]
    elif pooling == "token":
        attention = trunk.blocks[-1].attn
        names = ("q_proj", "k_proj", "q_bias", "q_norm", "k_norm")
        parts = [getattr(attention, name, None) for name in names]
    modules = [part for part in parts if isinstance(part, nn.Module)]
    alone = [part for part in parts if isinstance(part, nn.Parameter)]
    return [*alone, *(parameter for module in modules for parameter in module.parameters())]


def _pooling(trunk: Any) -> str:
    """``"map"``, ``"token"`` or ``"mean"``: how a trunk makes one vector of its tokens or cells."""
    if getattr(trunk, "attn_pool", None) is not None:
        return "map"
    return "token" if is_plain(trunk) and trunk.global_pool == "token" else "mean"


def _pooled_alone(pool: Any, tokens: Tensor) -> Tensor:
    """What the attention pool gives of each token as if there were no other: attention over one is its value."""
    width = pool.kv.weight.shape[0] // 2
    bias = None if pool.kv.bias is None else pool.kv.bias[width:]
    pooled: Tensor = pool.proj(F.linear(tokens, pool.kv.weight[width:], bias))
    return pooled if pool.mlp is None else pooled + pool.mlp(pool.norm(pooled))


def _values(attention: Any, x: Tensor) -> Tensor:
    """``o(v(x))`` of any of timm's attentions."""
    if attention.qkv is None:
        values = attention.v_proj(x)
    else:
        bias = attention.qkv.bias
        bias = getattr(attention, "v_bias", None) if bias is None else bias.chunk(3)[2]
        values = F.linear(x, attention.qkv.weight.chunk(3)[2], bias)
    values = attention.norm(values) if hasattr(attention, "norm") else values
    if getattr(attention, "gate", None) is not None:
        values = values * attention.gate(x).sigmoid()
    projected: Tensor = attention.proj(values)
    return projected


def _scaled(x: Tensor, gamma: Tensor | None) -> Tensor:
    return x if gamma is None else x * gamma


def _cell_by_cell(tower: Any, map: Tensor, size: torch.Size) -> Tensor:
    """Each cell through the tower's head, as a picture of that cell alone: its mean over cells is then the cell."""
    trunk = tower.trunk
    rows, columns = (n // side for n, side in zip(size, patch_of(tower), strict=True))
    if map.ndim == 3:  # tokens; as many of the same as there are before the patches, and one
        prefix = trunk.num_prefix_tokens
        cells = map[:, prefix:].flatten(0, 1)[:, None].expand(-1, prefix + 1, -1)
    else:
        last = getattr(trunk, "output_fmt", "NCHW") == "NHWC"
        map = map if last else map.movedim(1, -1)
        rows, columns = map.shape[1:3]
        cells = map.flatten(0, 2)
        cells = cells[:, None, None] if last else cells[..., None, None]
    features: Tensor = tower.head(trunk.forward_head(cells))
    grid: Tensor = rearrange(features, "(b h w) c -> b c h w", h=rows, w=columns)
    return grid

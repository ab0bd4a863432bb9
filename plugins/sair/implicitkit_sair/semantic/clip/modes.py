"""A CLIP image tower as dense features: what the last block is changed to, so that every patch speaks of itself.

With ``x' = x + o(A v(LN x))`` and ``y = x' + FFN(LN x')`` for an ordinary last block (``A`` its attention, ``v`` its
values, ``o`` its output projection), each mode says what becomes of it; the final norm and the projection follow:

========== ======================================= ============ ===========================================
mode       attention ``A``                         residual,FFN from
========== ======================================= ============ ===========================================
vanilla    softmax(q kᵀ/√d)                        kept         CLIP (Radford et al., ICML 2021)
maskclip   identity: ``o(v)``                      kept         MaskCLIP (Zhou et al., ECCV 2022)
sclip      softmax(q qᵀ/√d) + softmax(k kᵀ/√d)     kept         SCLIP (Wang et al., ECCV 2024)
clearclip  softmax(q qᵀ/√d)                        removed      ClearCLIP (Lan et al., ECCV 2024)
naclip     softmax(k kᵀ/√d + gaussian window)      removed      NACLIP (Hajimiri et al., WACV 2025)
========== ======================================= ============ ===========================================

Everything here is a function of open_clip's modules and a tensor; nothing has a state.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from implicitkit_sair.semantic.dropping import Kept

Mode = Literal["vanilla", "maskclip", "sclip", "clearclip", "naclip"]
MODES: tuple[str, ...] = get_args(Mode)
BARE_MODES = ("clearclip", "naclip")  # modes that remove the last block's residual and feed-forward network
SIGMA = 5.0  # of naclip's window, in patches


def dense_vit(net: Any, x: Tensor, mode: Mode, kept: Kept | None = None) -> Tensor:
    """Text-aligned features of every patch, or of those that are kept, zero elsewhere.

    Args:
        net: open_clip's ``VisionTransformer``.
        x: ``(B, 3, H, W)``, normalised; H and W are multiples of the patch.
        mode: see the module.
        kept: the patches that take part; None for all.

    Returns:
        ``(B, embedding width, H/patch, W/patch)``.
    """
    cls, patches, cells = _embed(net, x)

    def run(which: Tensor | slice, same: Kept | None) -> Tensor:
        tokens = _before_last(net, cls, patches[which], same)
        out: Tensor = net.ln_post(last_block(net.transformer.resblocks[-1], tokens, cells, mode, same)) @ net.proj
        return out

    features = run(slice(None), None) if kept is None else kept.spread(kept.apart(run, prefix=0))
    map: Tensor = rearrange(features, "b (h w) c -> b c h w", h=cells[0])
    return map


def pooled_vit(net: Any, x: Tensor, kept: Kept) -> Tensor:
    """The picture's embedding ``(B, embedding width)`` as the network makes it, of the patches that are kept."""
    cls, patches, _ = _embed(net, x)

    def pool(tokens: Tensor) -> Tensor:
        if net.pool_type == "avg":
            return tokens[:, 1:].mean(1)
        return tokens[:, 0]

    def run(which: Tensor, same: Kept) -> Tensor:
        tokens = net.transformer.resblocks[-1](_before_last(net, cls, patches[which], same))
        pooled: Tensor = net.ln_post(pool(tokens)) if net.final_ln_after_pool else pool(net.ln_post(tokens))
        projected: Tensor = pooled @ net.proj
        return projected[:, None]

    return kept.apart(run, prefix=1)[:, 0]


def _embed(net: Any, x: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """The class token ``(C,)`` and the patches ``(B, N, C)`` with their positions, and how the patches lie."""
    grid: Tensor = net.conv1(x)
    cells = grid.shape[2], grid.shape[3]
    patches = rearrange(grid, "b c h w -> b (h w) c")
    table = positions(net.positional_embedding, net.grid_size, cells).to(patches.dtype)
    cls: Tensor = net.class_embedding.to(patches.dtype) + table[0]
    return cls, patches + table[1:], cells


def _before_last(net: Any, cls: Tensor, patches: Tensor, kept: Kept | None) -> Tensor:
    """The tokens that the last block is given, ``(B, 1 + K, C)``."""
    patches = patches if kept is None else kept.pick(patches)
    tokens: Tensor = net.ln_pre(torch.cat([cls.expand(len(patches), 1, -1), patches], dim=1))
    for block in net.transformer.resblocks[:-1]:
        tokens = block(tokens)
    return tokens


def dense_resnet(net: Any, x: Tensor) -> Tensor:
    """The same of open_clip's ``ModifiedResNet``: the attention pool's value and output projections as 1x1 convolutions
    (MaskCLIP), without its position embedding, which belongs to a grid of one size.

    ``x`` is ``(B, 3, H, W)``, normalised, multiples of 32; the result ``(B, embedding width, H/32, W/32)``.
    """
    x = net.stem(x)
    for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
        x = layer(x)
    features: Tensor = net.attnpool.c_proj(net.attnpool.v_proj(x.movedim(1, -1)))
    return features.movedim(-1, 1)


def last_block(block: Any, tokens: Tensor, cells: tuple[int, int], mode: Mode, kept: Kept | None = None) -> Tensor:
    """The last block as ``mode`` changes it: tokens ``(B, 1 + N, C)``, the class token first, to patches ``(B, N, C)``;
    or those that are ``kept`` of them.

    A layer scale, where the network has one, still applies to what it applied to.
    """
    if mode == "vanilla":
        whole: Tensor = block(tokens)
        return whole[:, 1:]
    attended: Tensor = block.ls_1(attend(block.attn, block.ln_1(tokens), cells, mode, kept))[:, 1:]
    if mode in BARE_MODES:
        return attended
    tokens = tokens[:, 1:] + attended
    tokens = tokens + block.ls_2(block.mlp(block.ln_2(tokens)))
    return tokens


def attend(attention: Any, x: Tensor, cells: tuple[int, int], mode: Mode, kept: Kept | None = None) -> Tensor:
    """``o(A v)`` of normalised tokens ``(B, 1 + N, C)`` with the attention ``A`` of ``mode``, the same shape.

    The class token is a key and a value like any other; naclip's window does not reach it.
    """
    q, k, v = F.linear(x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=-1)
    if mode == "maskclip":
        projected: Tensor = attention.out_proj(v)
        return projected
    q, k, v = (rearrange(part, "b n (heads c) -> b heads n c", heads=attention.num_heads) for part in (q, k, v))
    match mode:
        case "sclip":
            attended = F.scaled_dot_product_attention(q, q, v) + F.scaled_dot_product_attention(k, k, v)
        case "clearclip":
            attended = F.scaled_dot_product_attention(q, q, v)
        case "naclip":
            window = gaussian_window(cells, device=x.device)
            if kept is not None:
                window = window[kept.places[:, None, :, None], kept.places[:, None, None, :]]
            window = F.pad(window, (1, 0, 1, 0)).to(q.dtype)
            attended = F.scaled_dot_product_attention(k, k, v, attn_mask=window)
        case _:
            raise ValueError(f"the mode of clip is one of {', '.join(MODES)}; received {mode!r}")
    projected = attention.out_proj(rearrange(attended, "b heads n c -> b n (heads c)"))
    return projected


def gaussian_window(cells: tuple[int, int], sigma: float = SIGMA, device: torch.device | None = None) -> Tensor:
    """``exp(-d²/2σ²)`` for the distance ``d`` of every two patches, in patches: ``(N, N)`` float32, not normalised."""
    steps = [torch.arange(n, dtype=torch.float32, device=device) for n in cells]
    rows, columns = (torch.exp(-((step[:, None] - step) ** 2) / (2 * sigma**2)) for step in steps)
    return torch.kron(rows, columns)


def positions(embedding: Tensor, native: tuple[int, int], cells: tuple[int, int]) -> Tensor:
    """The position embeddings ``(1 + N, C)`` of another grid than the ``native`` one.

    Bicubic (a = -0.5), antialiased where it shrinks, as open_clip makes those of a network of another size; the class
    token's is kept.
    """
    if tuple(native) == tuple(cells):
        return embedding
    patches = embedding[1:].float().t().unflatten(-1, tuple(native))[None]
    resized = F.interpolate(patches, cells, mode="bicubic", antialias=True)[0].flatten(1).t()
    return torch.cat([embedding[:1], resized.to(embedding.dtype)])


def unused(net: Any, mode: Mode) -> list[nn.Parameter]:
    """The parameters that dense features in ``mode`` do not depend on."""
    if hasattr(net, "attnpool"):
        pool = net.attnpool
        return [*pool.q_proj.parameters(), *pool.k_proj.parameters(), pool.positional_embedding]
    last = net.transformer.resblocks[-1]
    return [p for part in (last.ln_2, last.mlp, last.ls_2) for p in part.parameters()] if mode in BARE_MODES else []

"""SwinIR against a literal version: attention written per window of pixels, without shifts, masks or index tables."""

import pytest
import torch
import torch.nn.functional as F

import implicitkit as ik
from implicitkit.encoders.swinir import SwinIR, radius_of
from implicitkit.testing import check_encoder

SMALL = {"name": "swinir", "channels": 8, "depths": [2, 3], "heads": [2, 4], "window": 4, "out_channels": 6}


def attention(block: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Each pixel of ``(H, W, C)`` reads the pixels of its window; a window ends where the picture does."""
    h, w, c = x.shape
    window, heads = block.window, block.attention.heads
    q, k, v = block.attention.qkv(x).reshape(h, w, 3, heads, c // heads).unbind(2)
    row, column = ((torch.arange(n) - block.shift).div(window, rounding_mode="floor") for n in (h, w))
    out = torch.empty(h, w, heads, c // heads)
    for i in range(h):
        for j in range(w):
            ys, xs = (row == row[i]).nonzero()[:, 0], (column == column[j]).nonzero()[:, 0]
            seen = [(y, x) for y in ys.tolist() for x in xs.tolist()]
            for head in range(heads):
                logits = torch.stack(
                    [
                        q[i, j, head] @ k[y, x, head] / (c // heads) ** 0.5
                        + block.attention.bias[(i - y + window - 1) * (2 * window - 1) + j - x + window - 1, head]
                        for y, x in seen
                    ]
                )
                share = logits.softmax(0)
                out[i, j, head] = sum(s * v[y, x, head] for s, (y, x) in zip(share, seen, strict=True))
    return block.attention.out(out.flatten(2))


def literal(encoder: SwinIR, x: torch.Tensor) -> torch.Tensor:
    """Liang et al., eq. 1-7, for one picture ``(3, H, W)`` whose sides are multiples of the window."""

    def conv(layer: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        return layer(x.permute(2, 0, 1)[None])[0].permute(1, 2, 0)

    shallow = conv(encoder.first, x.permute(1, 2, 0))
    y = encoder.norm_in(shallow)
    for group in encoder.groups:
        start = y
        for block in group.blocks:
            y = y + attention(block, block.norm1(y))
            y = y + block.mlp(block.norm2(y))
        y = start + conv(group.conv, y)
    deep = conv(encoder.last, encoder.norm_out(y))
    return F.leaky_relu(conv(encoder.project, deep + shallow), 0.01).permute(2, 0, 1)


@pytest.mark.parametrize("window", [3, 4])
def test_equals_the_literal_formula(window: int) -> None:
    encoder = ik.create_encoder({**SMALL, "window": window})
    for parameter in encoder.parameters():  # far from the small initial values, so that a wrong bias or mask shows
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.rand(2, 3, 3 * window, 2 * window)
    with torch.no_grad():
        ours = encoder(x).map
        theirs = torch.stack([literal(encoder, picture * 2 - 1) for picture in x])
    assert (ours - theirs).abs().max() <= 1e-5 * max(1.0, theirs.abs().max())


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (4, 4), (5, 9), (8, 3)])
def test_any_size_is_mirrored_up_to_whole_windows(size: tuple[int, int]) -> None:
    encoder = ik.create_encoder(SMALL).eval()
    x = torch.rand(1, 3, *size)
    features = encoder(x)
    extent = tuple(-(-n // 4) * 4 for n in size)
    assert features.extent == extent and features.map.shape == (1, 6, *extent)
    mirror = [[min(i % (2 * n), 2 * n - 1 - i % (2 * n)) for i in range(e)] for n, e in zip(size, extent, strict=True)]
    by_hand = x[:, :, mirror[0]][:, :, :, mirror[1]]
    assert torch.equal(features.map, encoder(by_hand).map)


def test_nothing_but_parameters_is_stored() -> None:
    encoder = ik.create_encoder(SMALL)
    assert encoder.state_dict().keys() == dict(encoder.named_parameters()).keys()
    before = set(vars(encoder))
    encoder(torch.rand(1, 3, 8, 8)), encoder(torch.rand(1, 3, 13, 6))
    assert set(vars(encoder)) == before


@pytest.mark.parametrize(("depths", "window"), [([2], 4), ([1, 2], 3), ([3], 5)])
def test_the_radius_is_reached_and_not_passed(depths: list[int], window: int) -> None:
    encoder = SwinIR(8, depths, [2] * len(depths), window).eval()
    assert encoder.radius == radius_of(depths, window)
    size = window * (2 * (encoder.radius // window + 1) + 1)
    farthest = 0
    for start in range(size // 2 // window * window, size // 2 // window * window + window):
        x = torch.zeros(1, 3, size, 1, dtype=torch.float64)
        x.requires_grad_()
        map = encoder.double()(x).map[..., 0]
        for end in range(size):
            (gradient,) = torch.autograd.grad(map[0, :, end].sum(), x, retain_graph=True)
            if gradient[0, :, start].abs().sum() > 0:
                farthest = max(farthest, abs(end - start))
    assert farthest == encoder.radius


@pytest.mark.parametrize("masks", [0, 1])
def test_contract(masks: int) -> None:
    """Tiles among the rest: their origins lie on windows, so no seam can be measured."""
    check_encoder({**SMALL, "mask_channels": masks}, size=(71, 50), tile=8)


def test_the_authors_extra_window() -> None:
    plain = ik.create_encoder(SMALL).eval()
    extra = ik.create_encoder({**SMALL, "extra_window": True}).eval()
    extra.load_state_dict(plain.state_dict())
    x = torch.rand(1, 3, 8, 6)
    assert extra(x).extent == (12, 8)  # 8 is a multiple of 4 and gets a window more; 6 is not, and gets to 8
    by_hand = torch.cat([x, x.flip(2)], 2)[:, :, :12]
    by_hand = torch.cat([by_hand, by_hand.flip(3)], 3)[:, :, :, :8]
    assert torch.equal(extra(x).map, plain(by_hand).map)
    # their script queries the padded picture at a whole magnification and crops the output
    decoder = ik.create_decoder("lte", in_channels=6, hidden=[8])
    ours = ik.ImplicitModel(extra, decoder).encode(x).render((24, 18), clamp=False)
    theirs = ik.ImplicitModel(plain, decoder).encode(by_hand).render((36, 24), clamp=False)
    torch.testing.assert_close(ours, theirs[..., :24, :18], atol=1e-4, rtol=0)
    assert extra.receptive_field == "global"


def test_stochastic_depth_acts_in_training_alone() -> None:
    plain, dropping = (ik.create_encoder({**SMALL, "drop_path": rate}) for rate in (0.0, 0.5))
    dropping.load_state_dict(plain.state_dict())
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(plain.eval()(x).map, dropping.eval()(x).map)
    assert torch.equal(plain.train()(x).map, plain.eval()(x).map)
    assert not torch.equal(dropping.train()(x).map, dropping(x).map)
    rates = [block.drop for group in dropping.groups for block in group.blocks]
    assert rates == pytest.approx([0, 0.125, 0.25, 0.375, 0.5])
    kept = dropping.groups[1].blocks[2]._sometimes(torch.ones(4000, 1, 1, 1))
    assert set(kept.unique().tolist()) == {0.0, 2.0} and abs(kept.mean() - 1) < 0.08  # 5 standard deviations


def test_published_size() -> None:
    with torch.device("meta"):
        encoder = ik.create_encoder("swinir")
    assert (encoder.out_channels, encoder.size_multiple, encoder.receptive_field) == (64, 8, 303)
    block = 2 * 2 * 180 + 225 * 6 + 181 * 540 + 181 * 180 + 181 * 360 + 361 * 180
    conv = (180 * 9 + 1) * 180
    expected = 28 * 180 + 360 + 6 * (6 * block + conv) + 360 + conv + (180 * 9 + 1) * 64
    assert sum(p.numel() for p in encoder.parameters()) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heads": [2, 3]}, r"heads=\[2, 3\]"),
        ({"heads": [2]}, r"heads=\[2\]"),
        ({"depths": [], "heads": []}, r"depths=\[\]"),
        ({"window": 1}, "window >= 2.* and 1$"),
        ({"drop_path": 1.0}, "received 1.0"),
        ({"channels": 0}, "received 0"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ik.create_encoder({**SMALL, **arguments})

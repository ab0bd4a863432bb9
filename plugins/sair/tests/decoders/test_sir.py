"""SIR against a literal version of its equation, and what its options promise."""

import dataclasses
import itertools

import pytest
import torch
from literal import bilinear, blend, unfold
from small_parts import EDSR, Patches

import implicitkit as ik
from implicitkit.decoders.base import Inputs
from implicitkit.testing import check_model
from implicitkit_sair.decoders.sir import SIR, missing_share

SMALL = {"name": "sir", "reduced": 5, "hidden": [12, 9]}


def literal(decoder: SIR, features: ik.Features, mask: torch.Tensor, coords: torch.Tensor) -> torch.Tensor:
    """One point, one neighbour at a time: expand(sum w f([3x3 of [reduce(z), m], offset, token]))."""
    decoder, map = decoder.double(), features.map.double()
    (h, w), stride = map.shape[2:], features.extent[0] // map.shape[2]
    share = torch.zeros(len(map), 1, h, w).double()
    for b, y, x, dy, dx in itertools.product(range(len(map)), range(h), range(w), range(stride), range(stride)):
        at = [y * stride + dy, x * stride + dx]
        for k, n in enumerate(mask.shape[2:]):
            at[k] = at[k] if at[k] < n else 2 * n - 1 - at[k]  # the padding is the picture's mirror image
        share[b, 0, y, x] += mask[b, 0, at[0], at[1]].double() / stride**2
    reduced = torch.stack([decoder.reduce.weight[:, :, 0, 0] @ m.flatten(1) for m in map])
    reduced = (reduced + decoder.reduce.bias[:, None]).unflatten(-1, (h, w))
    seen = torch.cat([reduced, share], dim=1)
    if decoder.complete.feat_unfold:
        seen = unfold(seen)
    weight, bias = decoder.complete.first.weight, decoder.complete.first.bias
    token = torch.zeros(len(map), 0).double()
    if decoder.global_token:
        token = torch.stack([(m * (1 - s)).sum((1, 2)) / (1 - s).sum() for m, s in zip(map, share, strict=True)])
        token = token @ decoder.reduce.weight[:, :, 0, 0].T + decoder.reduce.bias
        weight = torch.cat([weight, decoder.overview.weight], dim=1)

    def predict(b: int, i: int, index: tuple[int, ...], offset: torch.Tensor) -> torch.Tensor:
        first = weight @ torch.cat([seen[b, :, index[0], index[1]], offset, token[b]]) + bias
        return decoder.expand(decoder.complete.rest(first))

    values = blend(coords, (h, w), predict)
    return values + bilinear(map, coords) if decoder.residual == "bilinear" else values


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"feat_unfold": False, "out_channels": 4},
        {"residual": "bilinear"},
        {"global_token": True},
        {"residual": "bilinear", "global_token": True},
    ],
    ids=str,
)
def test_equals_the_literal_formula(options: dict) -> None:
    torch.manual_seed(0)
    decoder = SIR(6, reduced=5, hidden=[9, 8], **options)
    torch.nn.init.normal_(decoder.expand.weight)  # a residual branch starts as nothing, which would hide the rest
    features = ik.Features(torch.randn(2, 6, 4, 5), extent=(16, 20))
    mask = (torch.rand(2, 1, 14, 17) < 0.4).float()
    coords = torch.rand(2, 14, 2) * 2 - 1
    with torch.no_grad():
        latent = decoder.prepare(features, Inputs(torch.zeros(2, 3, 14, 17), mask), {})
        ours = decoder.query(latent, coords, None, {})
        theirs = literal(decoder, features, mask, coords)
    torch.testing.assert_close(ours.double(), theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("options", [{}, {"residual": "bilinear"}, {"local_ensemble": False}], ids=str)
def test_contract(options: dict) -> None:
    spec = {"encoder": EDSR, "decoder": {**SMALL, **options}, "inputs": ["image", "mask"]}
    check_model(ik.create_model(spec))


def test_contract_with_a_stride_and_without_a_mask() -> None:
    check_model(ik.ImplicitModel(Patches(), SIR(6, reduced=5, hidden=[12]), inputs=["image", "mask"]))
    check_model(ik.ImplicitModel(Patches(mask_channels=0), SIR(6, reduced=5, hidden=[12])))


def test_the_defaults_are_the_papers() -> None:
    decoder = SIR()
    assert decoder.output == "embedding" and not decoder.uses_cell and decoder.out_channels == 512
    assert decoder.complete.first.weight.shape == (256, 587)  # 3x3 of 64 + 1, and the offset
    assert decoder.complete.rest[-1].weight.shape == (64, 256) and decoder.expand.weight.shape == (512, 64)


def test_a_cell_says_how_much_of_it_is_missing() -> None:
    mask = torch.zeros(1, 1, 5, 8)
    mask[..., :2, :3] = 1
    mask[..., 4, 6] = 1
    features = ik.Features(torch.zeros(1, 1, 2, 2), extent=(8, 8))
    share = missing_share(features, Inputs(torch.zeros(1, 3, 5, 8), mask))
    # 6 of 16 pixels at the upper left; at the lower right, row 4 is mirrored into row 5
    assert torch.equal(share[0, 0], torch.tensor([[6 / 16, 0], [0, 2 / 16]]))
    assert not missing_share(features, Inputs(torch.zeros(1, 3, 5, 8))).any()


def test_the_mask_matters() -> None:
    torch.manual_seed(0)
    decoder, map = SIR(6, reduced=5, hidden=[9]), torch.randn(1, 6, 3, 3)
    picture, hole = torch.zeros(1, 3, 12, 12), torch.zeros(1, 1, 12, 12)
    hole[..., :4, :4] = 1
    coords = torch.tensor([[[-0.6, -0.6], [0.6, 0.6]]])
    values = []
    for mask in (None, torch.zeros_like(hole), hole):
        latent = decoder.prepare(ik.Features(map, (12, 12)), Inputs(picture, mask), {})
        values.append(decoder.query(latent, coords, None, {})[0])
    assert torch.equal(values[0], values[1])
    assert not torch.allclose(values[0][0], values[2][0])


def test_the_residual_starts_as_the_interpolation() -> None:
    map = torch.randn(2, 6, 4, 5)
    decoder = SIR(6, reduced=5, hidden=[9], residual="bilinear")
    latent = decoder.prepare(ik.Features(map, (4, 5)), Inputs(torch.zeros(2, 3, 4, 5)), {})
    coords = torch.rand(2, 20, 2) * 2 - 1
    expected = bilinear(map, coords).float()
    torch.testing.assert_close(decoder.query(latent, coords, None, {}), expected, atol=1e-5, rtol=0)


def test_the_global_token_reaches_across_a_wide_hole() -> None:
    """A cell at one corner changes the value at the other, farther away than any neighbourhood."""
    torch.manual_seed(0)
    map, picture, far = torch.randn(1, 6, 12, 12), torch.zeros(1, 3, 12, 12), torch.tensor([[[0.95, 0.95]]])
    changed = map.clone()
    changed[..., 0, 0] += 1
    for token, reaches in ((False, False), (True, True)):
        decoder = SIR(6, reduced=5, hidden=[9], global_token=token)
        values = [
            decoder.query(decoder.prepare(ik.Features(m, (12, 12)), Inputs(picture), {}), far, None, {})
            for m in (map, changed)
        ]
        assert torch.allclose(*values, atol=1e-6) != reaches


def test_the_global_token_is_the_encoders_own_where_it_has_one() -> None:
    @dataclasses.dataclass(frozen=True)
    class Pooled(ik.Features):
        pooled: torch.Tensor | None = None

    decoder, inputs = SIR(6, reduced=5, hidden=[9], global_token=True), Inputs(torch.zeros(2, 3, 4, 4))
    map, coords = torch.randn(2, 6, 4, 4), torch.rand(2, 5, 2)

    def values(pooled: torch.Tensor | None) -> torch.Tensor:
        latent = decoder.prepare(Pooled(map, (4, 4), pooled=pooled), inputs, {})
        return decoder.query(latent, coords, None, {})

    torch.testing.assert_close(values(map.mean((2, 3))), values(None), atol=1e-5, rtol=0)
    assert not torch.allclose(values(torch.zeros(2, 6)), values(None))


def test_a_picture_that_is_all_hole_has_a_finite_token() -> None:
    decoder = SIR(6, reduced=5, hidden=[9], global_token=True)
    inputs = Inputs(torch.zeros(1, 3, 4, 4), torch.ones(1, 1, 4, 4))
    latent = decoder.prepare(ik.Features(torch.randn(1, 6, 4, 4), (4, 4)), inputs, {})
    assert torch.isfinite(decoder.query(latent, torch.zeros(1, 1, 2), None, {})).all()


def test_the_global_token_refuses_tiles() -> None:
    spec = {"encoder": EDSR, "decoder": {**SMALL, "global_token": True}}
    with pytest.raises(ValueError, match="SIR sees the whole picture at once, so it cannot encode in tiles"):
        ik.create_model(spec).encode(torch.rand(3, 40, 40), tile=8)


def test_bad_arguments_are_named() -> None:
    for arguments, message in (
        ({"residual": "cubic"}, "received 'cubic'"),
        ({"reduced": 0}, "received .*reduced=0"),
        ({"residual": "bilinear", "out_channels": 7}, "adds 512 features to 7 values .* out_channels=512"),
    ):
        with pytest.raises(ValueError, match=message):
            SIR(**arguments)
    with pytest.raises(ValueError, match="gives 8 features per cell, SIR takes 512"):
        ik.create_model({"encoder": EDSR, "decoder": {"name": "sir", "in_channels": 512}})

"""A field gives the same values however it is asked: points, grids, blocks, tiles, boxes, batches, threads."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

import implicitkit as ik
from implicitkit.coordinates import axes, cell_size, grid, mesh
from implicitkit.decoders.base import Inputs
from oracles.models import Strided, conditioned_model, made, small_model

pytestmark = pytest.mark.usefixtures("either_way")

EXACT = {"atol": 2e-6, "rtol": 0.0}  # float32 rounding of values of order 1


MODELS = {
    "liif": lambda: small_model(),
    "liif with a skip": lambda: small_model(skip="bilinear"),
    "liif without ensemble": lambda: small_model(local_ensemble=False),
    "padded, stride 2": lambda: ik.ImplicitModel(
        Strided(), ik.create_decoder("liif", in_channels=6, hidden=[8], skip="bilinear")
    ).eval(),
    "conditioned": conditioned_model,
}


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=6, deadline=None)
@given(height=st.integers(1, 23), width=st.integers(1, 23), out=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_render_is_the_field_at_the_pixel_centres(name: str, height: int, width: int, out: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = MODELS[name]()
    field = model.encode(torch.rand(3, height, width))
    rendered = field.render(out, clamp=False)
    at_points = field(grid(out), cell_size(out)).t().unflatten(1, out)
    assert rendered.shape == (3, *out)
    torch.testing.assert_close(rendered, at_points, **EXACT)


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=4, deadline=None)
@given(tile=st.integers(5, 16), size=st.tuples(st.integers(1, 20), st.integers(1, 20)), block=st.integers(20, 300))
@example(tile=1, size=(6, 5), block=1)
def test_tiles_and_blocks_leave_no_seam(name: str, tile: int, size: tuple[int, int], block: int) -> None:
    torch.manual_seed(0)
    model = MODELS[name]()
    picture = torch.rand(2, 3, *size)
    out = (size[0] * 2 + 1, size[1] + 3)
    whole, tiled = model.encode(picture), model.encode(picture, tile=tile)
    expected = whole.render(out, clamp=False)
    torch.testing.assert_close(whole.render(out, clamp=False, block=block), expected, **EXACT)
    torch.testing.assert_close(tiled.render(out, clamp=False, block=block), expected, **EXACT)
    box = (-0.7, -0.3, 0.2, 0.9)
    torch.testing.assert_close(tiled.render((9, 7), box, clamp=False), whole.render((9, 7), box, clamp=False), **EXACT)
    points, cells = torch.rand(2, 60, 2) * 2 - 1, torch.rand(2, 60, 2) * 0.1
    torch.testing.assert_close(tiled(points, cells), whole(points, cells), **EXACT)
    torch.testing.assert_close(tiled(points, 0.05), whole(points, 0.05), **EXACT)


def test_a_box_is_a_window_of_the_render(photo: Tensor) -> None:
    model = small_model(cell_decode=False)
    field = model.encode(photo)
    whole = field.render((128, 160))
    part = field.render((64, 40), box=(-1.0, 0.0, 0.0, 0.5))
    # the same points up to the last bit of a coordinate, where a border query may take the other of two equal cells
    torch.testing.assert_close(part, whole[:, :64, 80:120], atol=1e-4, rtol=0)


def test_an_explicit_cell_is_used_as_it_is(photo: Tensor) -> None:
    field = small_model().encode(photo)
    default = field.render((70, 90))
    assert torch.equal(default, field.render((70, 90), cell=cell_size((70, 90))))
    assert not torch.equal(default, field.render((70, 90), cell=0.5))
    by_hand = field(mesh(axes((70, 90))), torch.tensor([2 / 70, 2 / 90])).clamp(0, 1)
    torch.testing.assert_close(default, by_hand.t().unflatten(1, (70, 90)), **EXACT)


def test_shapes_follow_the_question(photo: Tensor) -> None:
    model = small_model()
    one, batch = model.encode(photo), model.encode(torch.stack([photo, photo.flip(1)]))
    points = torch.rand(5, 2)
    assert one(points, 0.1).shape == (5, 3)
    assert one(points[None], 0.1).shape == (1, 5, 3)
    assert batch(points, 0.1).shape == (2, 5, 3)
    assert batch(points.expand(2, 5, 2), torch.full((5, 2), 0.1)).shape == (2, 5, 3)
    assert one.render((4, 6)).shape == (3, 4, 6)
    assert batch.render((4, 6)).shape == (2, 3, 4, 6)
    torch.testing.assert_close(batch.render((4, 6))[0], one.render((4, 6)), **EXACT)


def test_clamping_is_renders_own(photo: Tensor) -> None:
    model = small_model()
    with torch.no_grad():
        model.decoder.rest[-1].bias += 3
    field = model.encode(photo)
    assert field.render((5, 5)).max() == 1
    assert field.render((5, 5), clamp=False).min() > 1
    assert field(torch.zeros(1, 2), 0.1).min() > 1


def test_embeddings_are_neither_mapped_nor_clamped() -> None:
    model = conditioned_model().conditions["semantic"]
    picture = torch.rand(1, 3, 8, 8)
    latent = model.decoder.prepare(model.encoder(picture), Inputs(picture * 2 - 1), {})
    raw = model.decoder.query(latent, torch.zeros(1, 1, 2), None, {})
    torch.testing.assert_close(model.encode(picture)(torch.zeros(1, 2)), raw)


def test_an_odd_picture_is_exact_on_a_padding_encoder() -> None:
    """What is asked inside the picture does not depend on how the padded extent is described."""
    model = MODELS["padded, stride 2"]()
    picture = torch.rand(1, 3, 10, 13)
    rows, columns = [*range(10), 9, 8], [*range(13), 12, 11, 10]  # mirrored by hand, the border included
    mirrored = picture[:, :, rows][..., columns]
    small, large = model.encode(picture), model.encode(mirrored)
    points = torch.rand(50, 2) * 1.6 - 0.8
    ratio = torch.tensor([10 / 12, 13 / 16])
    inside = (points + 1) * ratio - 1
    torch.testing.assert_close(small(points, 0.1), large(inside, 0.1 * ratio), **EXACT)


def test_threads_get_what_one_gets(photo: Tensor) -> None:
    field = small_model().encode(photo, tile=24)
    before = copy.deepcopy(field.model.state_dict())
    boxes = [(-1 + k / 10, -1.0, 0.0 + k / 10, 1.0) for k in range(8)]
    alone = [field.render((30, 20), box) for box in boxes]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda box: field.render((30, 20), box), boxes))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    assert all(torch.equal(v, before[k]) for k, v in field.model.state_dict().items())


def test_points_of_any_shape(photo: Tensor) -> None:
    model = small_model()
    field, batch = model.encode(photo), model.encode(torch.stack([photo, photo.flip(2)]))
    points, cells = torch.rand(4, 5, 6, 2) * 2 - 1, torch.rand(4, 5, 6, 2) * 0.1
    flat = field(points.reshape(-1, 2), cells.reshape(-1, 2))
    assert torch.equal(field(points, cells), flat.reshape(4, 5, 6, 3))
    assert torch.equal(field(points[:1, 0], cells[:1, 0]), flat[None, :6])
    one = field(points[0, 0, 0], 0.1)
    assert one.shape == (3,) and torch.equal(one, field(points[0, 0, :1], 0.1)[0])
    assert field(torch.zeros(0, 2), 0.1).shape == (0, 3)
    both = batch(points[:2], cells[:2])
    assert both.shape == (2, 5, 6, 3)
    assert torch.equal(both, batch(points[:2].flatten(1, 2), cells[:2].flatten(1, 2)).reshape(2, 5, 6, 3))
    assert batch(points[0, 0], 0.1).shape == (2, 6, 3) and batch(points[0, 0, 0], 0.1).shape == (2, 3)
    assert batch(points[:1], 0.1).shape == (2, 5, 6, 3)
    for wrong in (torch.zeros(5, 3), torch.zeros(()), torch.zeros(2)[:1]):
        with pytest.raises(ValueError, match="coords are"):
            field(wrong, 0.1)
    with pytest.raises(ValueError, match="coords are"):
        batch(torch.zeros(3, 5, 2), 0.1)
    for other in ([[0.0, 0.0]], points.numpy(), points > 0):
        with pytest.raises(ValueError, match="coords are a tensor of numbers"):
            field(other, 0.1)


def test_a_scale_counts_in_the_pictures_pixels(photo: Tensor) -> None:
    field = small_model().encode(photo)
    assert torch.equal(field.render(scale=1.5), field.render((96, 120)))
    box = (-1.0, 0.0, 0.0, 0.5)
    assert torch.equal(field.render(box=box, scale=2), field.render((64, 40), box))
    for wrong in ({}, {"size": (3, 3), "scale": 2}):
        with pytest.raises(ValueError, match="give a size .H, W., or scale="):
            field.render(**wrong)
    for scale in (0, -1, float("nan"), float("inf"), "2"):
        with pytest.raises(ValueError, match="scale is a positive number"):
            field.render(scale=scale)


@pytest.mark.parametrize("tile", [None, 16])
def test_copies_and_pickles_say_the_same(photo: Tensor, tile: int | None) -> None:
    for model in (small_model(), conditioned_model()):
        field = model.encode(photo, tile=tile)
        expected = field.render((40, 30))
        for other in (copy.copy(field), copy.deepcopy(field), pickle.loads(pickle.dumps(field))):
            assert torch.equal(other.render((40, 30)), expected) and repr(other) == repr(field)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("decoder", ["liif", "lte"])
def test_weights_of_16_bits_compute_in_them(photo: Tensor, dtype: torch.dtype, decoder: str) -> None:
    model = made(decoder, "paper")
    expected = model.encode(photo).render((50, 40))
    low = copy.deepcopy(model).to(dtype)
    for tile in (None, 20):
        field = low.encode(photo, tile=tile)
        assert field.precision == str(dtype).removeprefix("torch.") and field.render((50, 40)).dtype == torch.float32
        torch.testing.assert_close(field.render((50, 40)), expected, atol=0.05, rtol=0)  # of values around 0.5
        torch.testing.assert_close(
            field(grid((50, 40)), cell_size((50, 40))).T.reshape(3, 50, 40).clamp(0, 1), expected, atol=0.05, rtol=0
        )
    points, cell = torch.zeros(1, 3, 2), torch.full((1, 3, 2), 0.1)
    low(photo[None], points, cell).values.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in low.parameters())
    with pytest.raises(ValueError, match="call model.float.. for float32"):
        low.encode(photo, precision="float32")
    with pytest.raises(ValueError, match="the model's weights are float64"):
        copy.deepcopy(model).double().encode(photo)


def test_gradients_only_when_asked(photo: Tensor) -> None:
    model = small_model()
    assert not model.encode(photo)(torch.zeros(1, 2), 0.1).requires_grad
    points = torch.zeros(3, 2, requires_grad=True)
    model.encode(photo, grad=True)(points, 0.1).sum().backward()
    assert points.grad.abs().sum() > 0
    assert model.encoder.head[0].weight.grad.abs().sum() > 0


def test_one_pixel_and_a_strip() -> None:
    model = small_model(skip="bilinear")
    assert model.encode(torch.rand(3, 1, 1)).render((5, 7)).shape == (3, 5, 7)
    strip = model.encode(torch.rand(3, 1, 40000), tile=4096).render((2, 50000))
    assert strip.shape == (3, 2, 50000)
    assert strip.isfinite().all()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda m, p: m.encode((p * 255).byte()), "received a torch.uint8 tensor"),
        (lambda m, p: m.encode(p[:1]), r"takes a picture \(3, H, W\)"),
        (lambda m, p: m.encode(p[:, :0]), "received"),
        (lambda m, p: m.encode(p, mask=p[:1]), "takes no mask"),
        (lambda m, p: m.encode(p, tile=0), "positive number of pixels"),
        (lambda m, p: m.encode(p, precision="int8"), "float32, bfloat16"),
        (lambda m, p: m.encode(p)(torch.zeros(1, 2)), "needs cell="),
        (lambda m, p: m.encode(p)(torch.zeros(1, 3), 0.1), r"coords are \(N, 2\)"),
        (lambda m, p: m.encode(p)(torch.zeros(4, 2), torch.zeros(3, 2)), "cell is a number"),
        (lambda m, p: m.encode(p).render((0, 5)), "received"),
        (lambda m, p: m.encode(p).render((5, 5), box=(1, 1, 0, 0)), "positive extent"),
    ],
)
def test_bad_questions_say_what_was_received(photo: Tensor, ask, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ask(small_model(), photo)


def test_points_on_tiles_encode_each_tile_once(photo: Tensor) -> None:
    model = small_model()
    calls = []
    model.encoder.register_forward_hook(lambda *_: calls.append(1))
    field = model.encode(photo, tile=32)  # 64x80 pixels: 2 by 3 tiles
    field(torch.rand(30000, 2) * 2 - 1, 0.1)
    assert len(calls) == 6


def test_an_encoder_that_is_not_what_it_declares_is_named(photo: Tensor) -> None:
    wrong = Strided()
    wrong.size_multiple = 1
    with pytest.raises(ValueError, match="must be a multiple of the stride"):
        ik.ImplicitModel(wrong, ik.create_decoder("liif", in_channels=6))
    wrong.size_multiple, wrong.stride = 4, 4
    with pytest.raises(ValueError, match="declares stride 4, but makes"):
        wrong(photo[None])


def test_a_global_encoder_refuses_tiles(photo: Tensor) -> None:
    model = small_model()
    model.encoder.radius = None
    with pytest.raises(ValueError, match="whole picture at once"):
        model.encode(photo, tile=32)
    assert model.needs["receptive_field"] == "global"


def test_a_field_tells_its_picture_and_mask(photo: Tensor) -> None:
    encoder = {"name": "edsr", "blocks": 1, "channels": 4}
    model = ik.create_model({"encoder": encoder, "decoder": "nearest", "inputs": ["image", "mask"]})
    mask = (torch.rand(1, *photo.shape[1:]) < 0.5).float()
    one, batch = model.encode(photo, mask), model.encode(torch.stack([photo, photo]), mask)
    shown = torch.where(mask > 0.5, 0.5, photo)  # what a hole holds is nobody's to know
    assert torch.equal(one.image, shown) and torch.equal(one.mask, mask)
    assert batch.image.shape == (2, *photo.shape) and torch.equal(batch.mask, mask.expand(2, -1, -1, -1))
    assert not model.encode(photo).mask.any() and small_model().encode(photo).mask is None
    for name in ("image", "mask"):
        with pytest.raises(AttributeError):
            setattr(one, name, None)


def test_a_field_says_what_it_is_of() -> None:
    model = small_model()
    assert repr(model.encode(torch.rand(2, 3, 12, 10))) == "Field(2×(3, 12, 10), liif, float32, cpu)"
    assert repr(model.encode(torch.rand(3, 8, 8), precision="bfloat16")) == "Field((3, 8, 8), liif, bfloat16, cpu)"


def test_a_fields_options_are_those_of_its_questions() -> None:
    spec = {"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": {"name": "linf", "width": 8}}
    model, picture, hot = ik.create_model(spec).eval(), torch.rand(3, 6, 7), {"temperature": 0.8}
    plain, warm = model.encode(picture), model.encode(picture, options=hot)
    assert torch.equal(warm.render((9, 8)), plain.render((9, 8), options=hot))
    assert not torch.equal(warm.render((9, 8)), plain.render((9, 8)))
    assert torch.equal(warm.render((9, 8), options={"temperature": 0}), plain.render((9, 8)))
    assert torch.equal(warm(torch.zeros(3, 2), 0.1), plain(torch.zeros(3, 2), 0.1, options=hot))
    with pytest.raises(ValueError, match=r"^linf has no option 'heat'; it knows temperature, seed$"):
        model.encode(picture, options={"heat": 1})


@pytest.mark.parametrize("tile", [None, 8])
@pytest.mark.parametrize("clamp", [True, False])
@pytest.mark.parametrize("batched", [True, False])
def test_a_render_into_a_tensor_is_the_render(photo: Tensor, tile: int | None, clamp: bool, batched: bool) -> None:
    image = torch.stack([photo, photo.flip(1)]) * 1.4 if batched else photo * 1.4  # so that there is what is clamped
    field = small_model().encode(image, tile=tile)
    box = (-0.9, -0.3, 0.4, 0.8)
    expected = field.render((30, 41), box, clamp=clamp, block=100)
    out = torch.full_like(expected, 7.0)
    assert field.render((30, 41), box, clamp=clamp, block=100, out=out) is out
    assert torch.equal(out, expected)
    strided = torch.full((*expected.shape[:-1], 82), 7.0)[..., ::2]  # every other column of a larger canvas
    assert torch.equal(field.render((30, 41), box, clamp=clamp, block=100, out=strided), expected)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (torch.empty(3, 10, 11), r"out is a tensor \(3, 10, 12\), torch.float32, cpu; received \(3, 10, 11\)"),
        (torch.empty(1, 3, 10, 12), r"received \(1, 3, 10, 12\), torch.float32, cpu"),
        (torch.empty(3, 10, 12, dtype=torch.float16), r"received \(3, 10, 12\), torch.float16"),
        (torch.empty(3, 10, 12, device="meta"), r"received \(3, 10, 12\), torch.float32, meta"),
        (torch.empty(3, 10, 12, requires_grad=True), "out takes no values with gradients"),
        (torch.empty(3, 10, 1).expand(3, 10, 12), "out has one place for several pixels"),
        ([[0.0]], "received list"),
    ],
)
def test_what_a_render_cannot_be_written_into_is_refused(photo: Tensor, out: Tensor, message: str) -> None:
    before = None if not isinstance(out, Tensor) or out.is_meta else out.detach().clone()
    with pytest.raises(ValueError, match=message) as refused:
        small_model().encode(photo).render((10, 12), out=out)
    assert "\n" not in str(refused.value)
    assert before is None or torch.equal(out.detach().nan_to_num(), before.nan_to_num())  # nothing is written
    with pytest.raises(ValueError, match="encode with grad=False"):
        small_model().encode(photo, grad=True).render((10, 12), out=torch.empty(3, 10, 12))


def test_a_hundred_views_into_one_tensor_take_no_more_memory(photo: Tensor) -> None:
    process, field = psutil.Process(), small_model().encode(photo)
    out = torch.empty(3, 120, 160)

    def look(k: int) -> None:
        x = -1 + 0.01 * (k % 50)
        field.render((120, 160), (x, x, x + 0.5, x + 0.5), out=out)

    for k in range(20):
        look(k)
    before = process.memory_info().rss
    for k in range(100):
        look(k)
    grown = process.memory_info().rss - before
    assert grown < 12e6, f"{grown / 1e6:.1f} MB"  # a hundred canvases have 23 MB

"""The kernel of basis decoders against the plain path, and when it steps aside."""

import threading
from dataclasses import replace

import pytest
import torch

import implicitkit as ik
from implicitkit.coordinates import axes, cell_size
from implicitkit.decoders.base import Inputs
from implicitkit.encoders.base import Features
from implicitkit.kernels import evaluate, plain_path
from implicitkit.kernels.basis import BasisKernel, Separable, agrees, basis_kernel
from implicitkit.kernels.table import form_of

DECODERS = [
    {"name": "thera", "components": 32, "skip": "bilinear", "max_frequency": 2},
    {"name": "thera", "components": 5, "shift": [0.1, 0.2, 0.3]},
    {"name": "thera", "components": 16, "skip": "none", "out_channels": 4},
    {"name": "thera", "components": 9, "skip": "none", "out_channels": 1},
    {"name": "gb_lsr", "order": 6},
    {"name": "gb_lsr", "order": 9, "local_ensemble": False, "out_channels": 2},
    {"name": "ope", "max_frequency": 3},
    {"name": "ope", "max_frequency": 1, "local_ensemble": False},
]
SIZES = [(28, 36), (19, 23), (7, 9), (50, 17), (5, 4), (1, 1)]


@pytest.fixture(autouse=True)
def needs_the_kernel() -> None:
    if basis_kernel() is None:
        pytest.skip("no C compiler")


def model(decoder: dict) -> ik.ImplicitModel:
    torch.manual_seed(0)
    encoder = {"name": "edsr", "blocks": 1, "channels": 12}
    made = ik.create_model({"encoder": encoder, "decoder": decoder}).eval()
    for name, parameter in made.decoder.named_parameters():
        if name.startswith("hyper"):
            parameter.data.mul_(8)  # as large as a trained model's
    return made


def count_calls(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each call of the kernel brought values."""
    calls, grid = [], BasisKernel.grid

    def counted(*arguments: object) -> torch.Tensor | None:
        values = grid(*arguments)
        calls.append(values is not None)
        return values

    monkeypatch.setattr(BasisKernel, "grid", counted)
    return calls


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda d: f"{d['name']}-{d.get('out_channels', 3)}")
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_the_plain_path(decoder: dict, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_calls(monkeypatch)
    field = model(decoder).encode(torch.rand(2, 3, 7, 9))
    for box in (None, (-0.7, -0.3, 0.2, 0.9)):
        ours = field.render(size, box=box, clamp=False)
        assert calls and all(calls)
        with plain_path():
            expected = field.render(size, box=box, clamp=False)
        # the plain path takes the mean of equal offsets at integer scales: a few units in the last place of an angle
        assert float((ours - expected).abs().max()) <= 1e-5 * max(1.0, float(expected.abs().max()))


def test_equals_the_plain_path_on_tiles_and_many_threads() -> None:
    made, picture = model(DECODERS[0]), torch.rand(3, 40, 48)
    with plain_path():
        expected = made.encode(picture).render((160, 192))
    for tile in (None, 16):
        assert float((made.encode(picture, tile=tile).render((160, 192)) - expected).abs().max()) <= 2e-5


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda d: f"{d['name']}-{d.get('out_channels', 3)}")
@pytest.mark.parametrize("passing", [0, 1 << 30], ids=["past the caches", "through the caches"])
def test_writes_what_is_returned_to_the_given_canvas(
    decoder: dict, passing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("implicitkit.kernels.basis.PASSING", passing)
    field, channels = model(decoder).encode(torch.rand(2, 3, 7, 9)), decoder.get("out_channels", 3)
    with plain_path():
        expected = field.render((28, 48))
    assert float(expected.min()) >= 0 and float(expected.max()) <= 1
    for canvas in (torch.full((2, channels, 28, 48), 7.0), torch.full((2, channels + 1, 40, 64), 7.0)):
        out = canvas[:, :channels, :28, :48]
        calls = []
        monkeypatch.setattr(torch.Tensor, "copy_", lambda *arguments: calls.append(arguments))
        assert field.render((28, 48), out=out) is out and not calls, "the kernel writes to the canvas itself"
        monkeypatch.undo()
        assert float((out - expected).abs().max()) <= 1e-5
        beyond = canvas[:, :, 28:].flatten().tolist() + canvas[:, :, :, 48:].flatten().tolist()
        assert set(beyond) <= {7.0} and set(canvas[:, channels:].flatten().tolist()) <= {7.0}
    turned = torch.empty(2, channels, 48, 28).transpose(2, 3)  # lines are not in one piece
    assert float((field.render((28, 48), out=turned) - expected).abs().max()) <= 1e-5


def test_limits_values() -> None:
    made = model(DECODERS[4])
    made.decoder.project.weight.data.mul_(20)
    values = made.encode(torch.rand(3, 7, 9)).render((28, 36))
    assert float(values.min()) == 0 and float(values.max()) == 1


@torch.no_grad()
def test_a_canvas_that_the_latent_lies_in() -> None:
    field = model(DECODERS[1]).encode(torch.rand(3, 8, 10))
    latent, lines, cell = field._latents.whole, axes((8, 10)), cell_size((8, 10))[None, None]
    expected = evaluate.query_grid(field.model.decoder, latent, lines, cell, {})
    out = latent.extra.rows.view(1, 3, 8, 10)  # numbers that are read until the end
    found = evaluate.query_grid(field.model.decoder, latent, lines, cell, {}, out=out)
    assert found is not out and torch.equal(found, expected)


def test_autograd_sees_what_was_written() -> None:
    field, weight, canvas = (
        model(DECODERS[1]).encode(torch.rand(3, 8, 8)),
        torch.ones(3, 16, 16),
        torch.zeros(3, 16, 16),
    )
    loss = (weight.requires_grad_() * canvas).sum()
    field.render((16, 16), out=canvas)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    with torch.inference_mode():
        field.render((16, 16), out=torch.empty(3, 16, 16))


def test_numbers_that_do_not_fit_are_left_to_the_plain_path() -> None:
    field = model(DECODERS[1]).encode(torch.rand(2, 3, 8, 10))
    latent, lines = field._latents.whole, axes((8, 10))
    form, kernel = form_of(field.model.decoder), basis_kernel()
    short = replace(latent, features=replace(latent.features, rows=latent.features.rows[..., :10]))
    alone = replace(latent, extra=replace(latent.extra, rows=latent.extra.rows[:1]))
    for wrong in (short, alone):
        assert kernel.grid(form, field.model.decoder, wrong, lines, None) is None
    out = torch.zeros(2, 3, 4, 4)
    assert kernel.grid(form, field.model.decoder, latent, lines, None, out=out) is not out and not bool(out.any())


def test_a_thread_with_a_small_stack() -> None:
    field, found = model(DECODERS[4]).encode(torch.rand(3, 8, 8)), []
    before = threading.stack_size(1 << 17)
    try:
        thread = threading.Thread(target=lambda: found.append(field.render((16, 16))))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert len(found) == 1


def test_what_is_not_a_number_stays() -> None:
    made = model(DECODERS[1])
    made.decoder.hyper.bias.data[-1] = float("nan")  # an amplitude of the last channel
    values = made.encode(torch.rand(3, 7, 9)).render((28, 36))
    assert bool(values[2].isnan().all()) and not bool(values[:2].isnan().any())


@pytest.mark.parametrize("decoder", [DECODERS[1], DECODERS[4], DECODERS[6]], ids=lambda d: d["name"])
def test_rows_in_bfloat16(decoder: dict) -> None:
    field = model(decoder).encode(torch.rand(3, 7, 9), precision="bfloat16")
    ours = field.render((28, 40), clamp=False)
    with plain_path():
        assert float((ours - field.render((28, 40), clamp=False)).abs().max()) <= 1e-4


@torch.no_grad()
@pytest.mark.parametrize("ensemble", [False, True])
def test_products_at_coordinates_out_of_order(ensemble: bool) -> None:
    decoder = ik.create_decoder("gb_lsr", in_channels=4, order=5, local_ensemble=ensemble)
    latent = decoder.prepare(Features(torch.rand(1, 4, 5, 60), (5, 60)), Inputs(torch.zeros(1, 3, 5, 60)), {})
    lines = [torch.rand(7) * 2 - 1, torch.rand(150) * 2 - 1]
    ours = evaluate.query_grid(decoder, latent, lines, None, {})
    with plain_path():
        expected = evaluate.query_grid(decoder, latent, lines, None, {})
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_far_phases_and_coordinates_out_of_order() -> None:
    decoder = ik.create_decoder("thera", in_channels=4, components=3, skip="none")
    map = torch.rand(1, 4, 5, 6) * 1e6
    latent = decoder.prepare(Features(map, (5, 6)), Inputs(torch.zeros(1, 3, 5, 6)), {})
    lines = [torch.tensor([0.3, -0.9, 0.9, -0.2]), torch.tensor([0.8, -0.5, 0.1])]
    ours = evaluate.query_grid(decoder, latent, lines, cell_size((9, 9))[None, None], {})
    with plain_path():
        expected = evaluate.query_grid(decoder, latent, lines, cell_size((9, 9))[None, None], {})
    assert float(expected.abs().max()) > 1e3
    assert float((ours - expected).abs().max() / expected.abs().max()) <= 1e-4  # sines of 1e5 radians in float32


def test_a_picture_is_one_block_and_far_smaller_ones_read_all(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_calls(monkeypatch)
    made = model(DECODERS[0])
    made.encode(torch.rand(3, 40, 40)).render((300, 300))
    assert calls == [True]
    field = made.encode(torch.rand(3, 20, 300))
    ours = field.render((20, 20))
    with plain_path():
        assert float((ours - field.render((20, 20))).abs().max()) <= 1e-5


def test_steps_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_calls(monkeypatch)
    made = model(DECODERS[0])
    made.encode(torch.rand(3, 6, 6), grad=True).render((12, 12))
    assert not calls, "a graph is kept"

    class Mine(type(made.decoder)):
        """Its table may be another."""

    made.decoder.__class__ = Mine
    made.encode(torch.rand(3, 6, 6)).render((12, 12))
    assert not calls, "the form of a subclass is not known"
    wide = model({"name": "thera", "components": 200, "skip": "none"})
    wide.encode(torch.rand(3, 6, 6)).render((12, 12))
    assert calls == [False], "more waves than the kernel has room for"


def test_the_kernel_is_tried_before_it_is_used() -> None:
    kernel = basis_kernel()
    assert kernel is not None and agrees(kernel)

    class Wrong:
        def run(self, task: object, threads: object) -> None:
            """Leave the output as it is."""

    assert not agrees(replace(kernel, functions=Wrong()))


def test_a_default_dtype_of_float64() -> None:
    fields = [model(decoder).encode(torch.rand(3, 8, 8)) for decoder in (DECODERS[1], DECODERS[6])]
    expected = [field.render((16, 20)) for field in fields]
    torch.set_default_dtype(torch.float64)
    try:
        assert agrees(basis_kernel())
        found = [field.render((16, 20)) for field in fields]
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


def test_forms() -> None:
    for decoder in DECODERS:
        form = form_of(ik.create_decoder({**decoder, "in_channels": 12}))
        assert isinstance(form, Separable) and form.waves == (decoder["name"] == "thera")


def test_kinds_of_tensors_that_it_reads() -> None:
    decoder = ik.create_decoder("gb_lsr", in_channels=4, order=2)
    latent = decoder.prepare(Features(torch.rand(1, 4, 3, 3), (3, 3)), Inputs(torch.zeros(1, 3, 3, 3)), {})
    lines = [line.detach() for line in axes((4, 4))]
    assert evaluate.applies(latent, lines, None) == (type(latent.features.rows) is torch.Tensor)
    assert not evaluate.applies(latent, [line.double() for line in lines], None)
    assert not evaluate.applies(latent, lines, torch.zeros(1, 5, 2))
    assert not evaluate.applies(latent.features, lines, None)

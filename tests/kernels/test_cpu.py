"""The CPU kernel against the plain path, compiled for every instruction set that this processor has."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import implicitkit as ik
from implicitkit import kernels
from implicitkit.decoders.liif import LIIF
from implicitkit.decoders.local_ensemble import Latent
from implicitkit.decoders.neighbours import QueryNeighbours
from implicitkit.decoders.rows import Rows
from implicitkit.kernels import compiled, cpu
from implicitkit.kernels.cpu import CPUKernel
from oracles import PHOTOS
from oracles.kernel import SETS, apart, both, fresh, needs_compiler
from oracles.models import CASES, MODULATED, everywhere, made

FORMS = {"liif": "sums", "lte": "waves", "lte_plus": "waves", "lmf": "modulated", "lm_liif": "modulated"}
SAME, NARROW = 2e-6, 2e-2  # of the largest value: rounding of 24 bits, of 8

pytestmark = needs_compiler


@pytest.fixture(params=SETS.values(), ids=lambda flags: flags[-1] if flags else "as it is")
def instructions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiled, "instruction_sets", lambda: iter([request.param]))
    fresh()
    yield request.param
    monkeypatch.undo()
    fresh()


@pytest.mark.parametrize(("decoder", "case"), [*CASES, *MODULATED])
def test_a_grid_a_window_and_points_equal_the_plain_path(
    decoder: str, case: str, instructions: tuple[str, ...], ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pictures = made(decoder, case), torch.rand(2, 3, 5, 7)
    expected, found = both(lambda: everywhere(model, pictures))
    assert ran == [f"{FORMS[decoder]} torch.float32"] * 3
    assert apart(found, expected) <= SAME


@pytest.mark.parametrize("decoder", ["liif", "lte"])
def test_bfloat16_stays_close(decoder: str, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.bfloat16 not in cpu.kernels():
        pytest.skip("the processor has no AVX512-BF16")
    model, picture = made(decoder, "paper"), torch.rand(3, 6, 5)

    def ask(precision: str) -> torch.Tensor:
        return model.encode(picture, precision=precision).render((13, 8), clamp=False)

    plain, found = both(lambda: ask("bfloat16"))
    assert ran == [f"{FORMS[decoder]} torch.bfloat16"]
    exact = ask("float32")
    assert 0 < apart(found, exact) <= NARROW and apart(found, exact) <= 1.2 * apart(plain, exact)


def test_modulations_are_float32_at_any_precision(ran: list[str]) -> None:
    if torch.bfloat16 not in cpu.kernels():
        pytest.skip("the processor has no AVX512-BF16")
    model, picture = made("lmf", "paper"), torch.rand(3, 6, 5)
    narrow, exact = (
        model.encode(picture, precision=each).render((13, 8), clamp=False) for each in ("bfloat16", "float32")
    )
    assert ran == ["modulated torch.float32"] * 2
    assert 0 < apart(narrow, exact) <= NARROW


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_of_narrow_weights(dtype: torch.dtype, ran: list[str]) -> None:
    if torch.bfloat16 not in cpu.kernels():
        pytest.skip("the processor has no AVX512-BF16")
    decoder = made("liif", "paper").decoder.to(dtype)
    latent = Latent(Rows(torch.rand(1, 30, 24).to(dtype), (5, 6), (0, 0), (5, 6)), (5, 6))
    coords, cell = torch.rand(1, 50, 2) * 2 - 1, torch.full((1, 1, 2), 0.1)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        expected, found = both(lambda: kernels.query(decoder, latent, coords, cell, {}))
    assert ran == ["sums torch.bfloat16"] and apart(found, expected) <= NARROW


def test_blocks_tiles_and_threads_change_no_bit(ran: list[str]) -> None:
    model, picture = made("liif", "skip"), torch.rand(3, 40, 37)
    field = model.encode(picture)
    whole = field.render((75, 91))
    assert torch.equal(field.render((75, 91), block=97), whole)
    tiled = model.encode(picture, tile=16).render((75, 91))
    assert apart(tiled, whole) <= SAME  # the encoder's convolutions add in another order
    threads = torch.get_num_threads()
    try:
        for count in (1, 3, 64):
            torch.set_num_threads(count)
            assert torch.equal(field.render((75, 91)), whole), count
    finally:
        torch.set_num_threads(threads)
    assert set(ran) == {"sums torch.float32"}


def test_the_shipped_model_on_a_photograph(ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    model, photo = ik.load_model("liif_small"), ik.read_image(PHOTOS / "chelsea.png")[:, 60:100, 100:131]
    for size in ((97, 71), (160, 124), (17, 200)):
        expected, found = both(lambda size=size: model.encode(photo).render(size, clamp=False))
        assert (found - expected).abs().max() <= 1e-6
    assert ran


def waves(angles: torch.Tensor) -> torch.Tensor:
    """Cosines, then sines, of ``angles`` ``(N, K)`` as LTE's kernel computes them."""
    points, count = angles.shape
    kernel, identity = cpu.kernels()[torch.float32], nn.Linear(2 * count, 2 * count, bias=False)
    rows = torch.cat([torch.ones(points, 2 * count), angles, torch.zeros(points, count)], dim=1)[None]
    cell, one = torch.arange(points)[None], torch.ones(1, points)
    with torch.no_grad():
        identity.weight.copy_(torch.eye(2 * count))
        near = QueryNeighbours(
            torch.zeros_like(cell), one, cell, torch.zeros(1, points), points, points, False, 1, one, one
        )
        source = Rows(rows, (1, points), (0, 0), (1, points))
        return kernel.waves(source, near, [identity], torch.zeros(count))[0]


@pytest.mark.parametrize(("largest", "bound"), [(1.0, 1.3e-7), (100.0, 1.3e-7), (9.9e3, 1.3e-7), (1e6, 1.3e-7)])
def test_sines_and_cosines_are_those_of_float64(largest: float, bound: float, instructions: tuple[str, ...]) -> None:
    angles = (torch.rand(500, 24, generator=torch.Generator().manual_seed(5)) * 2 - 1) * largest
    angles[0, :5] = torch.tensor([0.0, -0.0, torch.pi / 4, torch.pi / 2, torch.pi])
    exact = angles.double()
    expected = torch.cat([exact.cos(), exact.sin()], dim=1)
    assert (waves(angles).double() - expected).abs().max() <= bound  # two units in the last place of 1


def test_what_is_no_number_stays_none_and_spoils_nothing_else(ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("implicitkit.model.check_values", lambda image: None)  # it would refuse the picture
    for decoder in ("liif", "lte"):
        model, picture = made(decoder, "paper"), torch.rand(2, 3, 9, 9)
        fine = model.encode(picture).render((12, 12), clamp=False)
        picture[0, 0, 4, 4] = float("nan")
        spoilt = model.encode(picture).render((12, 12), clamp=False)
        assert spoilt[0, :, 5:7, 5:7].isnan().all() and torch.equal(spoilt[1], fine[1])
    assert ran


def test_one_query_and_none(ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    field = made("lte", "paper").encode(torch.rand(3, 5, 6))
    expected, found = both(lambda: field(torch.tensor([[0.3, -0.2]]), 0.1))
    assert apart(found, expected) <= SAME and len(ran) == 1
    assert field(torch.zeros(0, 2), 0.1).shape == (0, 3)


def replaced(layer: nn.Linear, value: torch.Tensor) -> None:
    del layer.weight  # whose place in memory the next one may get
    layer.weight = nn.Parameter(value)


def unseen(layer: nn.Linear, value: torch.Tensor) -> None:
    layer.weight.data.copy_(value)  # counts no version


@torch.no_grad()
def in_place(layer: nn.Linear, value: torch.Tensor) -> None:
    layer.weight.copy_(value)


@pytest.mark.parametrize("change", [replaced, unseen, in_place])
def test_new_weights_are_seen(change: Callable[[nn.Linear, torch.Tensor], None], ran: list[str]) -> None:
    model = made("liif", "paper")
    field, layer = model.encode(torch.rand(3, 5, 5)), model.decoder.rest[1]
    for _ in range(30):
        change(layer, torch.rand_like(layer.weight) - 0.5)
        expected, found = both(lambda: field.render((6, 6), clamp=False))
        assert apart(found, expected) <= SAME
    assert len(ran) == 30


def test_what_was_asked_can_be_copied_and_pickled(ran: list[str]) -> None:
    model, picture = made("liif", "paper"), torch.rand(3, 5, 5)
    field = model.encode(picture)
    expected, latent = field.render((6, 6)), field._latents.whole
    for other in (copy.deepcopy(latent), pickle.loads(pickle.dumps(latent))):
        assert torch.equal(other.features.rows, latent.features.rows)
    twin = pickle.loads(pickle.dumps(model))
    assert ran and torch.equal(twin.encode(picture).render((6, 6)), expected)


def test_what_grows_beyond_all_numbers_stays_infinite(ran: list[str]) -> None:
    """Infinity times the zeros of padding would be no number."""
    decoder = LIIF(8, hidden=[33, 9, 8])
    with torch.no_grad():
        for layer in decoder.rest[1::2]:
            layer.weight.abs_()
        decoder.rest[1].weight.mul_(1e38).add_(1e38)
    model, picture = ik.ImplicitModel(made("liif", "paper").encoder, decoder).eval(), torch.rand(3, 4, 4)
    expected, found = both(lambda: model.encode(picture).render((7, 7), clamp=False))
    assert ran and expected.isinf().any() and torch.equal(found, expected)


DEFAULTS: dict[str, Callable[[bool], object]] = {
    "bfloat16": lambda on: torch.set_default_dtype(torch.bfloat16 if on else torch.float32),
    "float64": lambda on: torch.set_default_dtype(torch.float64 if on else torch.float32),
    "a device without values": lambda on: torch.set_default_device("meta" if on else None),
    "deterministic": torch.use_deterministic_algorithms,
    "no denormals": torch.set_flush_denormal,
}


@pytest.mark.parametrize("default", DEFAULTS)
def test_it_does_not_depend_on_defaults_nor_use_up_random_numbers(default: str) -> None:
    layers = [nn.Linear(6, 40, bias=False), nn.Linear(40, 3, bias=False)]
    rows, cell, off = torch.rand(1, 5, 6), torch.zeros(1, 5, dtype=torch.int64), torch.rand(1, 5)
    near = QueryNeighbours(cell, off, torch.arange(5)[None], off, 5, 5, False, 1, torch.ones(1, 5), torch.ones(1, 5))
    geometry = torch.rand(3, 6)
    first_sums = layers[0]((rows[0] + off.t() * (geometry[0] + geometry[1]) + geometry[2]).relu())
    expected, first = layers[1](first_sums.relu()), torch.rand(1, generator=torch.Generator().manual_seed(3))
    fresh()  # the kernel is tried once more, under the default
    torch.manual_seed(3)
    try:
        DEFAULTS[default](True)
        with torch.no_grad():
            kernel = cpu.kernels()[torch.float32]
            found = kernel.sums(Rows(rows, (1, 5), (0, 0), (1, 5)), near, layers, geometry[:2], geometry[2])[0]
        drawn = torch.rand(1, dtype=torch.float32, device="cpu")
    finally:
        DEFAULTS[default](False)
        fresh()
    assert found.device.type == "cpu" and (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert torch.equal(drawn, first)


def test_several_threads_ask_at_once(ran: list[str]) -> None:
    field = made("lte", "paper").encode(torch.rand(3, 12, 12))
    expected, answers = field.render((40, 40)), [torch.empty(0)] * 6

    def ask(k: int) -> None:
        answers[k] = field.render((40, 40))

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(len(answers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(answer, expected) for answer in answers)


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, expected in (("0", False), ("1", True)):
        monkeypatch.setenv("IMPLICITKIT_KERNELS", value)
        fresh()
        assert (len(cpu.kernels()) > 0) is expected
    monkeypatch.undo()
    fresh()


def test_where_memory_runs_out_blocks_are_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    field = made("liif", "paper").encode(torch.rand(3, 9, 9))
    expected, run, seen = field.render((30, 30)), CPUKernel._call, []

    def short(self: CPUKernel, task: Any) -> int:
        seen.append(task.points)
        return 1 if task.points > 200 else run(self, task)

    monkeypatch.setattr(CPUKernel, "_call", short)
    assert torch.equal(field.render((30, 30)), expected)
    assert seen[0] == 900 and max(seen[-4:]) <= 200

"""Blocks side by side on a CPU: the same picture, in order, in the modes of the thread that asked."""

from __future__ import annotations

import contextvars
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import torch
from support import small_model
from torch.utils.flop_counter import FlopCounterMode

from implicitkit.field import latents
from implicitkit.kernels import workers
from implicitkit.kernels.workers import in_order

pytestmark = pytest.mark.usefixtures("plain_path")

THREADS = 3


@pytest.fixture(autouse=True)
def some_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_from_several_threads() -> None:
    together = threading.Barrier(THREADS)

    def call(item: int) -> tuple[int, str, int]:
        if item < THREADS:
            together.wait(30)  # passes only if so many are at work at once
        return item, threading.current_thread().name, torch.get_num_threads()

    found = list(in_order(call, range(20), workers.workers()))
    assert [item for item, _, _ in found] == list(range(20))
    assert len({name for _, name, _ in found}) == THREADS
    assert {threads for *_, threads in found} == {1}
    assert torch.get_num_threads() == THREADS


def test_a_new_thread_still_has_all_threads() -> None:
    list(in_order(abs, range(4), workers.workers()))
    said: list[int] = []
    thread = threading.Thread(target=lambda: said.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert said == [THREADS]


def test_only_a_few_are_begun_ahead() -> None:
    begun: list[int] = []
    results = in_order(lambda item: begun.append(item) or item, range(1000), THREADS)
    assert next(results) == 0
    results.close()
    assert len(begun) <= workers.AHEAD * THREADS + 1


def test_an_exception_comes_where_its_turn_is() -> None:
    def call(item: int) -> int:
        if item == 5:
            raise ValueError("the fifth")
        return item

    results = in_order(call, range(50), THREADS)
    assert [next(results) for _ in range(5)] == list(range(5))
    with pytest.raises(ValueError, match="the fifth"):
        next(results)


def test_modes_and_context_variables_are_taken_along() -> None:
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(7)

    def call(_: int) -> tuple[object, ...]:
        own = variable.get()
        variable.set(own + 1)  # each has a copy of its own
        return own, torch.is_autocast_enabled("cpu"), torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert set(in_order(call, range(9), THREADS)) == {(7, True, False, False)}
    with torch.inference_mode():
        assert set(in_order(call, range(9), THREADS)) == {(7, False, True, False)}
    assert set(in_order(call, range(9), THREADS)) == {(7, False, False, False)}


def test_where_it_is_left_to_pytorch() -> None:
    assert workers.workers() == THREADS
    with FlopCounterMode(display=False):
        assert workers.workers() == 1
    with torch.device("cpu"):
        assert workers.workers() == 1
    assert set(in_order(lambda _: workers.workers(), range(3), THREADS)) == {1}  # inside, each is busy already
    inside = []
    torch.func.vmap(lambda x: inside.append(workers.workers()) or x)(torch.rand(2))
    assert inside == [1]
    torch.set_num_threads(1)
    assert workers.workers() == 1


def test_more_threads_than_python_keeps_busy_are_shared_among_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "MOST", 2)
    monkeypatch.setattr(workers, "_pools", {})
    torch.set_num_threads(5)
    assert workers.workers() == 2
    assert set(in_order(lambda _: torch.get_num_threads(), range(9), 2)) == {2}
    assert torch.get_num_threads() == 5


def test_threads_are_divided_with_few_left_over() -> None:
    shared = {threads: workers._share(threads) for threads in (2, 7, 8, 9, 11, 12, 16, 24, 64)}
    assert shared == {2: 2, 7: 7, 8: 8, 9: 8, 11: 5, 12: 6, 16: 8, 24: 8, 64: 8}


@pytest.mark.parametrize("tile", [None, 9])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_picture_is_the_same_whoever_makes_it(tile: int | None, precision: str) -> None:
    model, picture = small_model(), torch.rand(2, 3, 20, 27)
    points, cells = torch.rand(2, 500, 2) * 2 - 1, torch.rand(2, 500, 2) * 0.1
    found = []
    for threads in (THREADS, 1):
        torch.set_num_threads(threads)
        field = model.encode(picture, tile=tile, precision=precision)
        found.append(
            (field.render((61, 53), block=100), field.render((2, 3)), field(points, cells), field(points, 0.1))
        )
    for ours, alone in zip(*found, strict=True):
        torch.testing.assert_close(ours, alone, atol=2e-6 if precision == "float32" else 2e-2, rtol=0)


def test_points_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("implicitkit.field.field.SMALLEST_BLOCK", 8)
    model, seen = small_model(), set()
    usual = model.decoder.query

    def query(*arguments: object) -> torch.Tensor:
        seen.add(threading.current_thread().name)
        return usual(*arguments)

    field, points = model.encode(torch.rand(3, 9, 9)), torch.rand(400, 2)
    expected = field(points, 0.1)
    monkeypatch.setattr(model.decoder, "query", query)
    torch.testing.assert_close(field(points, 0.1), expected, atol=2e-6, rtol=0)
    assert "MainThread" not in seen


def test_tiles_are_encoded_by_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[tuple[int, int]] = set()
    usual = latents.Latents._encode_tile

    def watched(*arguments: object) -> object:
        threads.add((torch.get_num_threads(), workers.workers()))
        return usual(*arguments)

    monkeypatch.setattr(latents.Latents, "_encode_tile", watched)
    small_model().encode(torch.rand(3, 20, 20), tile=8).render((60, 60), block=64)
    assert threads == {(THREADS, 1)}  # the workers may be waiting for this very tile


def test_weights_changed_between_two_pictures_are_seen() -> None:
    model = small_model()
    field = model.encode(torch.rand(3, 12, 12))
    before = field.render((40, 40), block=200, clamp=False)
    with torch.no_grad():
        for parameter in model.decoder.rest.parameters():
            parameter.mul_(2)
    after = field.render((40, 40), block=200, clamp=False)
    torch.set_num_threads(1)
    torch.testing.assert_close(after, field.render((40, 40), clamp=False), atol=2e-6, rtol=0)
    assert float((after - before).abs().max()) > 1e-3


def test_the_first_few_alone() -> None:
    def call(item: int) -> tuple[int, bool, int]:
        return item, threading.current_thread() is threading.main_thread(), torch.get_num_threads()

    found = list(in_order(call, range(9), THREADS, alone=2))
    assert found[:2] == [(0, True, THREADS), (1, True, THREADS)]
    assert found[2:] == [(item, False, 1) for item in range(2, 9)]


def test_a_picture_begun_with_another_number_of_threads_is_finished() -> None:
    field = small_model().encode(torch.rand(3, 20, 20))
    pieces = field.blocks((60, 60), block=100)
    first = next(pieces)
    torch.set_num_threads(THREADS + 1)
    expected = field.render((60, 60), block=100)
    assert sum(1 for _ in pieces) + 1 >= 36
    assert torch.equal(first[1][0], expected[(slice(None), *first[0])])


def test_threads_that_cannot_be_started_are_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, started = threading.Thread.start, []

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("implicitkit"):
            started.append(thread)
            if len(started) > 1:
                raise RuntimeError("can't start new thread")
        usual(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setattr(workers, "_pools", {})
    assert list(in_order(abs, range(9), THREADS)) == list(range(9))
    assert len(started) == 2 and not workers._pools
    assert torch.get_num_threads() == THREADS
    started[0].join(10)
    assert not started[0].is_alive()


def test_a_generator_closed_by_one_of_its_own_workers_does_not_wait_for_it() -> None:
    suspended, closed = threading.Event(), threading.Event()

    def call(item: int) -> int:
        if item == 2:
            assert suspended.wait(30)
            results.close()
            closed.set()
        return item

    results = in_order(call, range(100), THREADS)
    assert next(results) == 0
    suspended.set()
    assert closed.wait(30)


def test_the_profiler_sees_the_work() -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]):
        assert workers.workers() == 1


def test_few_blocks_are_left_to_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[int] = set()
    model = small_model()
    usual = model.decoder.query_grid

    def query_grid(*arguments: object) -> torch.Tensor:
        seen.add(torch.get_num_threads())
        return usual(*arguments)

    monkeypatch.setattr(model.decoder, "query_grid", query_grid)
    model.encode(torch.rand(3, 9, 9)).render((20, 20))
    assert seen == {THREADS}


def test_tiles_are_encoded_once_when_threads_ask_for_it_together(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    usual = latents.Latents._encode_tile

    def watched(self: object, tiling: object, tile: object, picture: object) -> object:
        made.append(tile)
        return usual(self, tiling, tile, picture)

    monkeypatch.setattr(latents.Latents, "_encode_tile", watched)
    field = small_model().encode(torch.rand(3, 12, 12), tile=12)
    points = torch.rand(50, 2) * 2 - 1
    list(in_order(lambda _: field(points, 0.1), range(6), THREADS))
    assert len(made) == 1


LATE = """
import threading, torch
torch.set_num_threads(2)
from implicitkit.kernels.workers import in_order

def late():
    threading.main_thread().join()
    print(list(in_order(abs, range(9), 2)) == list(range(9)))

list(in_order(abs, range(9), 2))
threading.Thread(target=late).start()
"""


def test_a_thread_that_outlives_the_main_one_can_still_render() -> None:
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, timeout=120)
    assert done.stdout == "True\n", done.stderr


FORKED = """
import os, torch
torch.set_num_threads(2)
from implicitkit.kernels import workers
from implicitkit.kernels.workers import in_order
begun = in_order(abs, range(99), 2)
next(begun)
workers._lock.acquire()  # as another thread may hold it
child = os.fork()
if child == 0:
    assert list(in_order(abs, range(9), 2)) == list(range(9))
    try:
        next(begun)
    except RuntimeError as error:
        assert "forked" in str(error)
    else:
        os._exit(1)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_has_workers_of_its_own() -> None:
    subprocess.run([sys.executable, "-c", FORKED], check=True, timeout=120)

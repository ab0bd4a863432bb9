"""The plain path shared out to threads: the same values, in order, in the modes of the thread that asked."""

from __future__ import annotations

import contextvars
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from implicitkit.kernels import pool
from implicitkit.kernels.pool import in_parallel, spans_of
from oracles.models import small_model

pytestmark = pytest.mark.usefixtures("plain_path")

THREADS = 3


@pytest.fixture(autouse=True)
def some_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pool, "MIN_POINTS", 8)
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_from_threads_of_one_each() -> None:
    together = threading.Barrier(THREADS)

    def call(item: int) -> tuple[int, str, int]:
        together.wait(30)  # passes only if all are at work at once
        return item, threading.current_thread().name, torch.get_num_threads()

    results = in_parallel(call, range(THREADS))
    assert [item for item, _, _ in results] == list(range(THREADS))
    assert len({name for _, name, _ in results}) == THREADS and {threads for *_, threads in results} == {1}
    assert torch.get_num_threads() == THREADS
    others: list[int] = []
    thread = threading.Thread(target=lambda: others.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert others == [THREADS]  # a new thread has all


def test_modes_and_context_variables_are_those_of_the_asking_thread() -> None:
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(7)

    def call(_: int) -> tuple[object, ...]:
        return variable.get(), torch.is_autocast_enabled("cpu"), torch.is_inference_mode_enabled()

    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert set(in_parallel(call, range(3))) == {(7, True, False)}
    with torch.inference_mode():
        assert set(in_parallel(call, range(3))) == {(7, False, True)}


def test_an_error_is_raised_when_all_have_ended() -> None:
    ended = []

    def call(item: int) -> None:
        if item == 0:
            raise MemoryError
        ended.append(item)

    with pytest.raises(MemoryError):
        in_parallel(call, range(3))
    assert sorted(ended) == [1, 2]


def test_parts_cover_the_rows() -> None:
    assert spans_of(10, 1000) == [slice(0, 3), slice(3, 6), slice(6, 10)]
    assert spans_of(2, 1000) == [slice(0, 1), slice(1, 2)] and spans_of(10, 15) == [slice(0, 10)]
    torch.set_num_threads(1)
    assert spans_of(10, 1000) == [slice(0, 10)]


@pytest.mark.parametrize("tile", [None, 9])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_picture_is_the_same_on_any_number_of_threads(tile: int | None, precision: str) -> None:
    model, picture = small_model(), torch.rand(2, 3, 20, 27)
    points, cells = torch.rand(2, 500, 2) * 2 - 1, torch.rand(2, 500, 2) * 0.1
    answers = []
    for threads in (THREADS, 1):
        torch.set_num_threads(threads)
        field = model.encode(picture, tile=tile, precision=precision)
        answers.append((field.render((61, 53)), field.render((2, 3)), field(points, cells), field(points, 0.1)))
    for shared, alone in zip(*answers, strict=True):
        torch.testing.assert_close(shared, alone, atol=2e-6 if precision == "float32" else 2e-2, rtol=0)


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of vmap itself
def test_what_counts_or_transforms_operators_is_left_to_its_own_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    model, names = small_model(), set()
    local = model.decoder.local

    def watched(*arguments: torch.Tensor) -> torch.Tensor:
        names.add(threading.current_thread().name)
        return local(*arguments)

    monkeypatch.setattr(model.decoder, "local", watched)
    field, points = model.encode(torch.rand(3, 9, 9)), torch.rand(400, 2)
    with FlopCounterMode(display=False):
        field(points, 0.1)
    torch.func.vmap(lambda x: field(x, 0.1))(points[None])
    model.encode(torch.rand(3, 9, 9), grad=True)(points, 0.1)
    assert names == {threading.current_thread().name}
    names.clear()
    field(points, 0.1)
    assert len(names) > 0 and threading.current_thread().name not in names


def test_threads_that_cannot_be_started_are_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = threading.Thread.start, []

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("implicitkit"):
            started.append(thread)
            if len(started) > 1:
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(pool, "_pools", {})
    assert in_parallel(abs, range(5)) == list(range(5))
    assert torch.get_num_threads() == THREADS


FORKED = """
import os, torch
torch.set_num_threads(2)
from implicitkit.kernels import pool
pool.in_parallel(abs, range(2))
pool._lock.acquire()  # as another thread may hold it
child = os.fork()
if child == 0:
    os._exit(0 if pool.in_parallel(abs, range(2)) == [0, 1] else 1)
assert os.waitpid(child, 0)[1] == 0
"""

LATE = """
import threading, torch
torch.set_num_threads(2)
from implicitkit.kernels.pool import in_parallel

def late():
    threading.main_thread().join()
    assert in_parallel(abs, range(2)) == [0, 1]
    print("done")

in_parallel(abs, range(2))
threading.Thread(target=late).start()
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_has_workers_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_thread_that_outlives_the_main_one_can_still_ask() -> None:
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "done\n", done.stderr

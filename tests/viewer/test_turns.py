"""One thread renders; the newest view wins."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from implicitkit.viewer.turns import MAX_CLIENTS, MAX_WAITING, SAVE, Asker, Busy, MovedOn, Turns


@pytest.fixture
def turns() -> Iterator[Turns]:
    turns = Turns()
    yield turns
    turns.stop()


class Held:
    """Work that holds the thread until it is let go."""

    def __init__(self, turns: Turns) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.future = turns.ask("another", None, self.work)
        assert self.begun.wait(10)

    def work(self, asker: Asker) -> None:
        self.begun.set()
        assert self.go.wait(10)


def test_a_view_that_has_not_begun_is_dropped_by_a_newer_one(turns: Turns) -> None:
    held, done = Held(turns), []
    old = [turns.ask("page", 1, lambda asker: done.append(1)) for _ in range(3)]
    other = turns.ask("second page", 1, lambda asker: "second")
    new = turns.ask("page", 2, lambda asker: "new")
    for future in old:  # at once, while the thread is still held
        with pytest.raises(MovedOn):
            future.result(0)
    held.go.set()
    assert new.result(10) == "new" and other.result(10) == "second" and done == [] and turns.dropped == 3


def test_a_late_one_is_dropped_and_layers_of_one_view_are_not(turns: Turns) -> None:
    assert [turns.ask("page", 5, lambda asker: 1).result(10) for _ in range(2)] == [1, 1]
    with pytest.raises(MovedOn):
        turns.ask("page", 4, lambda asker: 1).result(10)


def test_one_that_runs_ends_at_its_next_block(turns: Turns) -> None:
    begun, asked = threading.Event(), threading.Event()

    def work(asker: Asker) -> None:
        asker.check()
        begun.set()
        assert asked.wait(10)
        asker.check()
        raise AssertionError("it went on")

    running = turns.ask("page", 1, work)
    assert begun.wait(10)
    newer = turns.ask("page", 2, lambda asker: "newer")
    asked.set()
    with pytest.raises(MovedOn):
        running.result(10)
    assert newer.result(10) == "newer"


def test_what_is_looked_at_comes_before_what_is_saved_and_in_the_midst_of_it(turns: Turns) -> None:
    held, order = Held(turns), []
    begun, asked = threading.Event(), threading.Event()

    def save(asker: Asker) -> None:
        order.append("save begins")
        begun.set()
        assert asked.wait(10)
        asker.check()
        order.append("save ends")

    saving = turns.ask("page", None, save, rank=SAVE)
    turns.ask("page", 1, lambda asker: order.append("model"))
    turns.ask("page", 1, lambda asker: order.append("bicubic"), rank=0)
    held.go.set()
    assert begun.wait(10)
    turns.ask("page", 2, lambda asker: order.append("next view"))
    asked.set()
    saving.result(10)
    assert order == ["bicubic", "model", "save begins", "next view", "save ends"]


def test_everything_runs_in_one_thread_that_outlives_failures(turns: Turns) -> None:
    with pytest.raises(ZeroDivisionError):
        turns.ask("page", 1, lambda asker: 1 // 0).result(10)
    names = {turns.ask("page", k, lambda asker: threading.current_thread().name).result(10) for k in range(2, 9)}
    assert names == {"implicitkit-view"}


def test_the_queue_and_the_list_of_pages_are_bounded(turns: Turns) -> None:
    held = Held(turns)
    *_, last = [turns.ask(f"page {k}", 1, lambda asker: None) for k in range(MAX_WAITING)]
    with pytest.raises(Busy):
        turns.ask("one more", 1, lambda asker: None)
    held.go.set()
    last.result(10)
    for k in range(2 * MAX_CLIENTS):
        turns.ask(f"{k}", k, lambda asker: None).result(10)
    assert len(turns._newest) <= MAX_CLIENTS


def test_the_end_drops_what_waits(turns: Turns) -> None:
    held = Held(turns)
    waiting = turns.ask("page", 1, lambda asker: 1)
    stopped = threading.Thread(target=turns.stop)
    stopped.start()
    with pytest.raises(MovedOn):
        waiting.result(10)
    held.go.set()
    stopped.join(10)
    with pytest.raises(Busy):
        turns.ask("page", 2, lambda asker: 1)

"""One thread renders; of one page's requests, the newest view wins."""

from __future__ import annotations

import heapq
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

MAX_CLIENTS = 256
MAX_WAITING = 64
WORK, SAVE = 1, 2
"""Ranks: what somebody looks at comes before what is saved; 0 is for what costs next to nothing."""


class MovedOn(Exception):  # noqa: N818
    """The view has moved on; nobody looks at this one any more."""


class Busy(Exception):  # noqa: N818
    """Too many requests are waiting."""


class Asker:
    """Says whether the view that is being rendered has moved on, and lets others go first."""

    def __init__(self, turns: Turns, job: _Job) -> None:
        self._turns, self._job = turns, job

    def check(self) -> None:
        """Raise :class:`MovedOn` if it has; what only takes long lets views go first."""
        if self._turns.is_old(self._job.client, self._job.turn):
            raise MovedOn
        if self._job.rank == SAVE:
            self._turns.give_way()


@dataclass(order=True)
class _Job:
    rank: int
    number: int
    client: str = field(compare=False)
    turn: int | None = field(compare=False)
    work: Callable[[Asker], Any] = field(compare=False)
    future: Future[Any] = field(compare=False)


class Turns:
    """A rendering thread and its queue.

    >>> turns = Turns()
    >>> turns.ask("page", 1, lambda asker: 2 + 2).result()
    4
    >>> turns.stop()
    """

    def __init__(self) -> None:
        self._newest: OrderedDict[str, int] = OrderedDict()
        self._waiting: list[_Job] = []
        self._changed = threading.Condition()
        self._count = 0
        self._stopped = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="implicitkit-view", daemon=True)
        self._thread.start()

    def ask(self, client: str, turn: int | None, work: Callable[[Asker], Any], rank: int = WORK) -> Future[Any]:
        """Queue ``work``; its future raises :class:`MovedOn` if ``client`` has asked for a later ``turn`` by then.

        Args:
            client: which page asks.
            turn: its number for the view; all layers of a view have one. None: never dropped.
            work: what to do; it calls :meth:`Asker.check` from time to time.
            rank: lower ones come first.

        Raises:
            Busy: too many are waiting.
        """
        future: Future[Any] = Future()
        with self._changed:
            if turn is not None:
                self._newest[client] = max(turn, self._newest.get(client, turn))
                self._newest.move_to_end(client)
                while len(self._newest) > MAX_CLIENTS:
                    self._newest.popitem(last=False)
            self._drop_old()
            if self._stopped or len(self._waiting) >= MAX_WAITING:
                raise Busy
            self._count += 1
            heapq.heappush(self._waiting, _Job(rank, self._count, client, turn, work, future))
            self._drop_old()  # the new one may itself be late
            self._changed.notify()
        return future

    def is_old(self, client: str, turn: int | None) -> bool:
        """Whether ``client`` has asked for a later view, or all is about to end."""
        return self._stopped or (turn is not None and turn < self._newest.get(client, turn))

    def give_way(self) -> None:
        """Render the views that wait; for the rendering thread alone, in the midst of something long."""
        while (job := self._next(below=SAVE)) is not None:
            self._do(job)

    def stop(self, seconds: float = 10.0) -> None:
        """Drop what waits, and wait up to ``seconds`` for what is being done."""
        with self._changed:
            self._stopped = True
            self._drop_old()
            self._changed.notify()
        self._thread.join(seconds)

    def _drop_old(self) -> None:
        old = [job for job in self._waiting if self.is_old(job.client, job.turn)]
        if not old:
            return
        self._waiting = [job for job in self._waiting if job not in old]
        heapq.heapify(self._waiting)
        self.dropped += len(old)
        for job in old:
            job.future.set_exception(MovedOn())

    def _next(self, below: int) -> _Job | None:
        with self._changed:
            if self._waiting and self._waiting[0].rank < below:
                return heapq.heappop(self._waiting)
            return None

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or bool(self._waiting))
                if self._stopped:
                    return
            job = self._next(below=SAVE + 1)
            if job is not None:
                self._do(job)
                del job  # a waiting thread holds no picture

    def _do(self, job: _Job) -> None:
        if not job.future.set_running_or_notify_cancel():
            return
        try:
            job.future.set_result(job.work(Asker(self, job)))
        except BaseException as error:  # the one who asked is told; the thread lives on
            job.future.set_exception(error)

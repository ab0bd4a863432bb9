"""One folder, several processes: ``accelerate launch -m implicitkit upscale FOLDER`` shares its pictures between them.

Each process takes every n-th picture. They meet when the first has locked the folder, and at the end, when
the first says what became of all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from implicitkit.errors import UserError

T = TypeVar("T")
LONGEST_WAIT = timedelta(days=14)  # of a process that is done for the others


@dataclass(frozen=True)
class Share:
    """A process and how many there are; alone unless torchrun or accelerate started it."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether it is the process that reports."""
        return self.rank == 0

    def of(self, things: Sequence[T]) -> list[T]:
        """Every ``count``-th of the things, from the ``rank``-th on.

        >>> Share(1, 3).of("abcdefg")
        ['b', 'e']
        """
        return list(things[self.rank :: self.count])

    def device(self, name: str) -> str:
        """``auto``, where each process has a GPU of its own, as that GPU."""
        import torch

        if name != "auto" or self.count == 1 or not torch.cuda.is_available():
            return name
        return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count()}"

    def tell(self, value: T) -> T:
        """The first process's value, once all processes are here.

        >>> Share().tell("begin")
        'begin'
        """
        return value if self.count == 1 else self._exchange(value)[0]

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in order, once all of them are here; they do not meet again.

        >>> Share().gather("done")
        ['done']
        """
        if self.count == 1:
            return [value]
        import torch.distributed as distributed

        values = self._exchange(value)
        distributed.destroy_process_group()
        return values

    def _exchange(self, value: T) -> list[T]:
        import torch.distributed as distributed

        if not distributed.is_initialized():
            distributed.init_process_group("gloo", timeout=LONGEST_WAIT)
        values: list[Any] = [None] * self.count
        distributed.all_gather_object(values, value)
        distributed.barrier()
        return values


def this_share(environment: Mapping[str, str] = os.environ) -> Share:
    """The share of this process; where ``accelerate launch --cpu`` started one of several, start them in its place.

    Raises:
        UserError: what started the processes does not say which is which.

    >>> this_share({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"})
    Share(rank=1, count=2)
    """
    if "ACCELERATE_MIXED_PRECISION" in environment:  # started by `accelerate launch`
        from implicitkit.training.processes import ranks_to_start

        if (command := ranks_to_start(environment)) is not None:
            os.execv(command[0], command)
    count, rank = environment.get("WORLD_SIZE", "1"), environment.get("RANK", "0")
    if not (count.isdecimal() and rank.isdecimal() and int(rank) < max(int(count), 1)):
        raise UserError(f"RANK and WORLD_SIZE do not say which process this is; received {rank!r} of {count!r}")
    return Share(int(rank), max(int(count), 1))

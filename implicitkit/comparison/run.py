"""What a comparison runs: the preparation, then the training runs, each a process of its own.

A process holds the lock of what it makes for as long as it lives, so that two comparisons can work in one folder, and a
process that outlives its comparison is waited for.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from filelock import FileLock, Timeout

from implicitkit.comparison.config import Cut, Preparation
from implicitkit.comparison.plan import PlannedRun
from implicitkit.errors import ConfigError, UserError
from implicitkit.files import replacing_folder, write_json
from implicitkit.images.folders import picture_files
from implicitkit.images.io import read_image, write_image

Say = Callable[[str], Any]
WHILE_LOCKED = "from implicitkit.comparison.run import call_locked; call_locked()"
POLL_S = 0.2
STOP_TIMEOUT_S = 20.0  # what a process is given to end when the comparison is stopped
LOG = "prepare.json"


def call_locked() -> None:
    """``implicitkit`` with the arguments behind the first, while the lock file that the first names is held."""
    with FileLock(sys.argv.pop(1)):
        runpy.run_module("implicitkit", run_name="__main__")  # as python -m implicitkit


@dataclass
class Processes:
    """Calls of ``implicitkit`` in processes of their own; all end when the block does."""

    environment: Mapping[str, str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    stopped: Event = field(default_factory=Event)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        running = list(self.running)
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()

    def call(self, arguments: Sequence[str], lock: Path, log: Path, threads: int) -> int:
        """Run ``implicitkit ARGUMENTS`` under ``lock``, its output added to ``log``; the exit status."""
        with log.open("a", encoding="utf-8") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", WHILE_LOCKED, str(lock), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self.environment, "OMP_NUM_THREADS": str(threads)},
                start_new_session=True,  # Ctrl-C is for the comparison, which then stops the process
            )
        self.running.append(process)
        if self.stopped.is_set():
            process.terminate()
        status = process.wait()
        self.running.remove(process)
        return status

    def wait_for(self, lock: Path) -> None:
        """Return when no other process holds ``lock``, or the comparison is stopped."""
        while is_held(lock) and not self.stopped.is_set():
            time.sleep(POLL_S)


def is_held(lock: Path) -> bool:
    """Whether another process holds a lock now."""
    try:
        FileLock(lock).acquire(blocking=False).lock.release()
    except Timeout:
        return True
    return False


def train_all(
    runs: Sequence[PlannedRun],
    *,
    jobs: int,
    threads: int,
    say: Say,
    environment: Mapping[str, str] | None = None,
    arguments: Callable[[PlannedRun], Sequence[str]] | None = None,
) -> dict[str, str]:
    """Train what is not trained yet, ``jobs`` runs at a time, in the order given; a run waits for the one it starts
    from. A run that another process is training is put off until the others are done.

    Args:
        runs: their folders hold their ``config.yaml``.
        jobs: processes at a time.
        threads: of each; a run that was begun with another number keeps it, since sums depend on it.
        say: called with a line of text.
        environment: added to the processes' environment.
        arguments: of ``implicitkit`` for a run (default: ``train CONFIG --resume``).

    Returns:
        The runs that failed: name -> why, in one line.
    """
    arguments = arguments or (lambda run: ["train", str(run.folder / "config.yaml"), "--resume"])
    results: dict[str, str | None] = {}  # why a run failed, "" if it did not, None if it was put off
    at_work: dict[str, Future[str | None]] = {}

    def train(run: PlannedRun, wait: bool) -> str | None:
        if run.after is not None:
            name = run.after.name
            before = at_work[name].result() if name in at_work else results.get(name, "")
            if before is None or before:
                return before and f"{name}, which it starts from, failed"
        if is_held(run.folder / "lock"):
            if not wait:
                return None
            say(f"{run.name}: another process is training it; waiting for it to end")
            processes.wait_for(run.folder / "lock")
        if run.finished or processes.stopped.is_set():
            return ""
        begun = any((run.folder / "checkpoints").glob("step-*"))
        kept = threads_of(run)
        count = kept if kept is not None and begun else threads
        (run.folder / "threads.txt").write_text(f"{count}\n", encoding="utf-8")
        say(f"{run.name}: {'resumed' if begun else 'begun'}")
        status = processes.call(arguments(run), run.folder / "lock", run.folder / "train.txt", count)
        if processes.stopped.is_set():
            return ""
        reason = why(run.folder / "train.txt", status) if status else "" if run.finished else "it left no weights"
        say(f"{run.name}: failed: {reason}" if reason else f"{run.name}: trained")
        return reason

    with ThreadPoolExecutor(jobs) as pool, Processes(environment or {}) as processes:
        try:
            for wait in (False, True):
                for run in runs:
                    if results.get(run.name) is None:
                        at_work[run.name] = pool.submit(train, run, wait)
                results |= {name: future.result() for name, future in at_work.items()}
                at_work.clear()
            return {name: reason for name, reason in results.items() if reason}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def threads_of(run: PlannedRun) -> int | None:
    """The number of threads that a run was begun with."""
    try:
        return int((run.folder / "threads.txt").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def why(log: Path, status: int) -> str:
    """Why a process failed: the last error that it wrote, or else its last line."""
    if status < 0:
        return f"killed by signal {-status}"
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or [f"exit status {status}"])[-1].strip()


def prepare_all(
    steps: Sequence[Preparation],
    output: Path,
    *,
    threads: int,
    say: Say,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Make what is missing, in the order given; a note is kept in ``output`` of how each thing was made.

    Returns:
        For each thing that is made here: how, with how many threads, in how many seconds.

    Raises:
        ConfigError: what is there was made in another way.
        UserError: a command failed; the message is its own last line.
    """
    if not steps:
        return {}
    output.mkdir(parents=True, exist_ok=True)
    lock = output / "prepare.lock"
    if is_held(lock):
        say("another process prepares this comparison; waiting")
    with FileLock(lock), Processes(environment or {}) as processes:
        notes = _notes(output)
        for step in steps:
            made = Path(step.makes)
            how: Any = step.command if step.cut is None else step.cut.model_dump(mode="json")
            if made.exists():
                before = notes.get(step.makes, {"how": how})["how"]
                if before != how:
                    text = f"implicitkit {' '.join(before)}" if isinstance(before, list) else json.dumps(before)
                    raise ConfigError(
                        f"prepare: {made} was made in another way ({text}); remove it to make it again, or choose "
                        "another output"
                    )
                continue
            start = time.monotonic()
            say(f"making {made}")
            made.parent.mkdir(parents=True, exist_ok=True)
            if step.cut is not None:
                cut(step.cut, made)
            else:
                _run_command(step, output, processes, threads)
            notes[step.makes] = {"how": how, "threads": threads, "seconds": round(time.monotonic() - start, 1)}
            write_json(output / LOG, notes)
    return how_made(steps, output)


def how_made(steps: Sequence[Preparation], output: Path) -> dict[str, Any]:
    """What :func:`prepare_all` returned when it made things."""
    notes = _notes(output)
    return {step.makes: notes.get(step.makes, {"how": "was there"}) for step in steps}


def cut(how: Cut, target: Path) -> None:
    """Squares of pictures, in the order of files and rows: every ``test_every``-th into ``target/test``, the others
    into ``target/train``; no pixel is in both.

    Raises:
        DataError: a folder is missing or holds no pictures.
        UserError: no square is left for one of the two.
    """
    with replacing_folder(target) as temporary:
        for part in ("train", "test"):
            (temporary / part).mkdir()
        count = 0
        for file in picture_files(how.folders):
            picture = read_image(file)
            # the rest of a picture is shared out between its two ends
            rows, columns = (range(n % how.side // 2, n - how.side + 1, how.side) for n in picture.shape[1:])
            for top, left in ((top, left) for top in rows for left in columns):
                count += 1
                part = "train" if count % how.test_every else "test"
                square = picture[:, top : top + how.side, left : left + how.side]
                write_image(temporary / part / f"{file.stem}_{top}_{left}.png", square)
        if count < how.test_every:
            raise UserError(
                f"prepare: the pictures in {', '.join(how.folders)} give {count} squares of {how.side} pixels, and "
                f"every {how.test_every}th is for testing; make side smaller"
            )


def _run_command(step: Preparation, output: Path, processes: Processes, threads: int) -> None:
    assert step.command is not None
    resumes = step.resumes_from is not None and Path(step.resumes_from).exists()
    arguments = [*step.command, *(["--resume"] if resumes else [])]
    lock, log = output / "prepare.command.lock", output / "prepare.txt"
    processes.wait_for(lock)  # a command that outlived its comparison may be at work
    if Path(step.makes).exists():
        return
    status = processes.call(arguments, lock, log, threads)
    if status != 0 or not Path(step.makes).exists():
        reason = why(log, status) if status else f"it has not made {step.makes}"
        raise UserError(f"prepare: implicitkit {' '.join(step.command)} failed: {reason}")


def _notes(output: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((output / LOG).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {output / LOG}: {error}") from None

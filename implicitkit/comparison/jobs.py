"""Training runs as processes of their own: several at a time, each resumable, none lost because another failed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from implicitkit.comparison.locks import POLL, inheritable, is_taken, take
from implicitkit.comparison.plan import PlannedRun

Say = Callable[[str], Any]
QUIET = 15.0  # seconds between two lines about one run
PATIENCE = 20.0  # seconds that a run is given to end when the comparison is stopped


class Job:
    """One process at work on a run. While it lives, whoever started it may be gone, the run stays locked."""

    def __init__(
        self, run: PlannedRun, arguments: Sequence[str], environment: Mapping[str, str], lock: IO[str]
    ) -> None:
        self.run, self._lock = run, lock
        self._said, self._step = time.monotonic(), -1
        with (run.folder / "train.txt").open("a", encoding="utf-8") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "implicitkit", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environment),
                pass_fds=inheritable(lock),
                start_new_session=True,  # Ctrl-C is for us, and we stop it
            )

    def ended(self) -> int | None:
        """The exit status, or None."""
        code = self.process.poll()
        if code is not None:
            self._lock.close()
        return code

    def stop(self) -> None:
        """End the process; what it has done up to its last checkpoint stays."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._lock.close()

    def tell(self, say: Say) -> None:
        """Say how far it is, now and then."""
        if time.monotonic() - self._said < QUIET:
            return
        last = last_entry(self.run.folder / "log.jsonl")
        if last.get("event") == "train" and last["step"] != self._step:
            self._said, self._step = time.monotonic(), last["step"]
            say(f"{self.run.name}: step {last['step']}/{self.run.config.steps}, loss {last['loss']:.5f}")


def train_all(
    runs: Sequence[PlannedRun],
    *,
    jobs: int,
    threads: int,
    say: Say,
    environment: Mapping[str, str] | None = None,
    executable: Callable[[PlannedRun], Sequence[str]] | None = None,
) -> dict[str, str]:
    """Train what is not trained yet, ``jobs`` runs at a time, in the order given; a run waits for the one it starts
    from.

    Args:
        runs: their folders hold their ``config.yaml``.
        jobs: processes at a time.
        threads: of each; a run that was begun with another number keeps it, since sums depend on it.
        say: called with a line of text.
        environment: added to the processes' environment.
        executable: the arguments of ``implicitkit`` for a run (default: ``train CONFIG --resume``).

    Returns:
        The runs that failed: name -> why, in one line.
    """
    arguments = executable or (lambda run: ["train", str(run.folder / "config.yaml"), "--resume"])
    waiting = list(runs)
    at_work: list[Job] = []
    failed: dict[str, str] = {}
    told: set[str] = set()
    try:
        while waiting or at_work:
            for job in [job for job in at_work if job.ended() is not None]:
                at_work.remove(job)
                if job.process.returncode == 0 and job.run.finished:
                    say(f"{job.run.name}: trained")
                else:
                    code = job.process.returncode
                    failed[job.run.name] = why(job.run.folder / "train.txt", code) if code else "it left no weights"
                    say(f"{job.run.name}: failed: {failed[job.run.name]}")
            for run in list(waiting):
                if run.finished and not is_taken(run.folder / "lock"):
                    waiting.remove(run)
                elif run.after is not None and run.after.name in failed:
                    waiting.remove(run)
                    failed[run.name] = f"{run.after.name}, which it starts from, failed"
                elif len(at_work) < jobs and (run.after is None or run.after.finished):
                    lock = take(run.folder / "lock")
                    if lock is None:
                        if run.name not in told:
                            say(f"{run.name}: another process is training it; waiting for it to end")
                        told.add(run.name)
                        continue
                    waiting.remove(run)
                    if run.finished:
                        lock.close()
                        continue
                    settings = {**os.environ, **(environment or {}), "OMP_NUM_THREADS": str(_threads(run, threads))}
                    at_work.append(Job(run, arguments(run), settings, lock))
                    say(f"{run.name}: {'resumed' if _begun(run) else 'begun'}")
            for job in at_work:
                job.tell(say)
            if waiting or at_work:
                time.sleep(POLL)
    finally:
        for job in at_work:
            job.stop()
    return failed


def threads_of(run: PlannedRun) -> int | None:
    """The number of threads that a run was begun with."""
    try:
        return int((run.folder / "threads.txt").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def last_entry(log: Path) -> dict[str, Any]:
    """The last whole line of a ``log.jsonl``; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        return entry if isinstance(entry, dict) else {}
    return {}


def why(output: Path, code: int) -> str:
    """The last error in what a process wrote, or else its last line."""
    lines = [line for line in output.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if code < 0:
        return f"killed by signal {-code}"
    return (errors or lines or [f"exit status {code}"])[-1].strip()


def _threads(run: PlannedRun, threads: int) -> int:
    kept = threads_of(run)
    if kept is not None and _begun(run):
        return kept
    (run.folder / "threads.txt").write_text(f"{threads}\n", encoding="utf-8")
    return threads


def _begun(run: PlannedRun) -> bool:
    return any((run.folder / "checkpoints").glob("step-*"))

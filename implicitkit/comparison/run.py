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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from implicitkit.comparison.plan import PlannedRun
from implicitkit.config.comparison import Preparation
from implicitkit.errors import ConfigError, UserError
from implicitkit.files import LOCK, is_held, read_json, write_json
from implicitkit.images.squares import cut_squares

POLL_S = 0.1
STOP_TIMEOUT_S = 20.0  # what a process is given to end when the comparison is stopped
NOTES = "prepare.json"


def make_once() -> None:
    """``implicitkit ARGUMENTS`` while a lock is held, unless the thing is there by then; ``sys.argv`` holds the lock
    file, what is made, and the arguments.
    """
    lock, target = sys.argv[1:3]
    del sys.argv[1:3]
    with FileLock(lock, is_singleton=True):  # the command may take it again
        if not Path(target).exists():
            runpy.run_module("implicitkit", run_name="__main__")  # as python -m implicitkit


@dataclass
class Job:
    """A call of ``implicitkit`` in a process of its own.

    Attributes:
        process: the process.
        target: the file or folder that it makes.
        log: where its output is added.
    """

    process: subprocess.Popen[bytes]
    target: Path
    log: Path

    @property
    def failure(self) -> str:
        """Why the process failed: the last error that it wrote, or else its last line; nothing if it did not."""
        status = self.process.wait()
        if status < 0:
            return f"killed by signal {-status}"
        if status == 0:
            return "" if self.target.exists() else f"it has not made {self.target}"
        lines = [line for line in self.log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return (errors or lines or [f"exit status {status}"])[-1].strip()

    def stop(self) -> None:
        """End the process if it is still running."""
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()


@dataclass
class Runner:
    """Prepares and trains.

    Attributes:
        jobs: training runs at a time.
        threads: of each; a run that was begun with another number keeps it, since sums depend on it.
        say: called with a line of text.
        environment: added to the processes' environment.
    """

    jobs: int
    threads: int
    say: Callable[[str], Any]
    environment: Mapping[str, str] = field(default_factory=dict)

    def prepare(self, steps: Sequence[Preparation], output: Path) -> None:
        """Make what is missing, in the order given; ``prepare.json`` says how each thing was made.

        Raises:
            ConfigError: what is there was made in another way.
            UserError: a command failed; the message is its own last line.
        """
        if not steps:
            return
        output.mkdir(parents=True, exist_ok=True)
        lock = output / "prepare.lock"
        if is_held(lock):
            self.say("another process prepares this comparison; waiting")
        with FileLock(lock):
            for step in steps:
                notes = read_notes(output)
                how = step.command or step.model_dump(mode="json")["cut"]
                before = notes.get(step.makes, {"how": how})["how"]
                if not Path(step.makes).exists():
                    start = time.monotonic()
                    self._make(step, output)
                    seconds = round(time.monotonic() - start, 1)
                    notes[step.makes] = {"how": how, "threads": self.threads * self.jobs, "seconds": seconds}
                    write_json(output / NOTES, notes)
                elif before != how:
                    text = f"implicitkit {' '.join(before)}" if isinstance(before, list) else json.dumps(before)
                    raise ConfigError(
                        f"prepare: {step.makes} was made in another way ({text}); remove it to make it again, or "
                        "choose another output"
                    )

    def _make(self, step: Preparation, output: Path) -> None:
        self.say(f"making {step.makes}")
        target = Path(step.makes)
        target.parent.mkdir(parents=True, exist_ok=True)
        if step.cut is not None:
            cut_squares(step.cut.folders, target, side=step.cut.side, test_every=step.cut.test_every)
            return
        arguments = list(step.command or [])
        if step.resumes_from and Path(step.resumes_from).exists():
            arguments.append("--resume")
        lock, log = output / "prepare.command.lock", output / "prepare.txt"
        job = self._start(arguments, target, lock, log, self.threads * self.jobs)
        try:
            failure = job.failure
        finally:
            job.stop()
        if failure:
            raise UserError(f"prepare: implicitkit {' '.join(step.command or [])} failed: {failure}")

    def train(self, runs: Sequence[PlannedRun]) -> dict[str, str]:
        """Train what is not trained yet, in the order given; the folders hold their ``config.yaml``. A run waits for
        the one that it starts from; a run that another process is training is left to it.

        Returns:
            The runs that failed: name -> why, in one line.
        """
        waiting = {run.name: run for run in runs}
        working: dict[str, Job] = {}
        failed: dict[str, str] = {}
        elsewhere: set[str] = set()  # trained by another process
        try:
            while waiting or working:
                for name, run in list(waiting.items()):
                    first = run.after.name if run.after else ""
                    if run.finished:
                        del waiting[name]
                    elif first in failed:
                        del waiting[name]
                        failed[name] = f"{first}, which it starts from, failed"
                    elif first not in {**waiting, **working} and len(working) < self.jobs:
                        if not is_held(run.folder / LOCK):
                            del waiting[name]
                            working[name] = self._train(run)
                        elif name not in elsewhere:
                            elsewhere.add(name)
                            self.say(f"{name}: another process is training it")
                time.sleep(POLL_S)
                for name in [name for name, job in working.items() if job.process.poll() is not None]:
                    failure = working.pop(name).failure
                    failed |= {name: failure} if failure else {}
                    self.say(f"{name}: failed: {failure}" if failure else f"{name}: trained")
        finally:
            for job in working.values():
                job.stop()
        return failed

    def _train(self, run: PlannedRun) -> Job:
        begun = any((run.folder / "checkpoints").glob("step-*"))
        threads = (begun and threads_of(run)) or self.threads
        (run.folder / "threads.txt").write_text(f"{threads}\n", encoding="utf-8")
        self.say(f"{run.name}: {'resumed' if begun else 'begun'}")
        target, lock, log = (run.folder / name for name in ("last.safetensors", LOCK, "train.txt"))
        return self._start(["train", str(run.folder / "config.yaml"), "--resume"], target, lock, log, threads)

    def _start(self, arguments: Sequence[str], target: Path, lock: Path, log: Path, threads: int) -> Job:
        call = "from implicitkit.comparison.run import make_once; make_once()"
        with log.open("a", encoding="utf-8") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", call, str(lock), str(target), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self.environment, "OMP_NUM_THREADS": str(threads)},
                start_new_session=True,  # Ctrl-C is for the comparison, which then stops the process
            )
        return Job(process, target, log)


def threads_of(run: PlannedRun) -> int | None:
    """The number of threads that a run was begun with."""
    file = run.folder / "threads.txt"
    return int(file.read_text(encoding="utf-8")) if file.is_file() else None


def read_notes(output: Path) -> dict[str, Any]:
    """How things were prepared: what was made -> note."""
    return dict(read_json(output / NOTES)) if (output / NOTES).is_file() else {}

"""What is made once, before the runs: the file of a command, or squares cut out of a few photographs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from implicitkit.comparison.config import Cut, Preparation
from implicitkit.comparison.jobs import Say, why
from implicitkit.comparison.locks import inheritable, waiting_for
from implicitkit.errors import ConfigError, UserError
from implicitkit.files import replacing_folder, write_json

LOG = "prepare.json"


def prepare_all(
    steps: list[Preparation], output: Path, *, threads: int, say: Say, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Make what is missing, in the order given.

    Args:
        steps: texts filled in.
        output: the comparison's folder, where a note is kept of how each thing was made.
        threads: of the commands.
        say: called with a line of text.
        environment: added to the commands' environment.

    Returns:
        For each thing that is made here: how, with how many threads, in how many seconds.

    Raises:
        ConfigError: what is there was made in another way.
        UserError: a command failed; the message is its own last line.
    """
    if not steps:
        return {}
    output.mkdir(parents=True, exist_ok=True)
    with waiting_for(
        output / "prepare.lock", lambda: say("another process is making what comes first; waiting")
    ) as lock:
        _prepare(steps, output, threads, say, {**os.environ, **(environment or {})}, lock)
    return how_made(steps, output)


def _prepare(
    steps: list[Preparation], output: Path, threads: int, say: Say, environment: Mapping[str, str], lock: IO[str]
) -> None:
    notes: dict[str, Any] = _read(output / LOG)
    for step in steps:
        made, how = Path(step.makes), _how(step)
        if made.exists():
            if step.makes in notes and notes[step.makes]["how"] != how:
                raise ConfigError(
                    f"prepare: {made} was made in another way ({_text(notes[step.makes]['how'])}); remove it to make "
                    "it again, or choose another output"
                )
            continue
        start = time.monotonic()
        say(f"making {made}")
        made.parent.mkdir(parents=True, exist_ok=True)
        if step.cut is not None:
            cut(step.cut, made)
        else:
            _call(step, output, {**environment, "OMP_NUM_THREADS": str(threads)}, lock)
        notes[step.makes] = {"how": how, "threads": threads, "seconds": round(time.monotonic() - start, 1)}
        write_json(output / LOG, notes)


def how_made(steps: list[Preparation], output: Path) -> dict[str, Any]:
    """What :func:`prepare_all` returned when it made things."""
    notes = _read(output / LOG)
    return {step.makes: notes.get(step.makes, {"how": "was there"}) for step in steps}


def cut(how: Cut, target: Path) -> None:
    """Squares of pictures, in the order of files and rows: each ``test_every``-th into ``target/test``, the others into
    ``target/train``; no pixel is in both.

    Raises:
        DataError: a folder is missing or holds no pictures.
        UserError: no square is left for one of the two.
    """
    from implicitkit.images.folders import picture_files
    from implicitkit.images.io import read_image, write_image

    with replacing_folder(target) as temporary:
        for part in ("train", "test"):
            (temporary / part).mkdir()
        count = 0
        for file in picture_files(how.folders):
            picture = read_image(file)
            for top, left in _corners(picture.shape[1:], how.side):
                count += 1
                part = "train" if count % how.test_every else "test"
                square = picture[:, top : top + how.side, left : left + how.side]
                write_image(temporary / part / f"{file.stem}_{top}_{left}.png", square)
        if count < how.test_every:
            raise UserError(
                f"prepare: the pictures in {', '.join(how.folders)} give {count} squares of {how.side} pixels, and "
                f"each {how.test_every}th is for testing; make side smaller"
            )


def _corners(size: tuple[int, ...], side: int) -> Iterator[tuple[int, int]]:
    """Of the squares that fit, the rest of the picture shared out between its two ends."""
    rows, columns = (range(n % side // 2, n - side + 1, side) for n in size)
    for top in rows:
        for left in columns:
            yield top, left


def _call(step: Preparation, output: Path, environment: Mapping[str, str], lock: IO[str]) -> None:
    assert step.command is not None
    resumes = step.resumes_from is not None and Path(step.resumes_from).exists()
    log = output / "prepare.txt"
    with log.open("a", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "implicitkit", *step.command, *(["--resume"] if resumes else [])],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=dict(environment),
            pass_fds=inheritable(lock),
        )
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if code != 0 or not Path(step.makes).exists():
        reason = why(log, code) if code else f"it has not made {step.makes}"
        raise UserError(f"prepare: implicitkit {' '.join(step.command)} failed: {reason}")


def _how(step: Preparation) -> Any:
    return step.command if step.command is not None else step.model_dump(mode="json")["cut"]


def _text(how: Any) -> str:
    return f"implicitkit {' '.join(how)}" if isinstance(how, list) else json.dumps(how)


def _read(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {file}: {error}") from None

"""``implicitkit view``: what it refuses, how it begins, and that Ctrl-C ends it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from implicitkit.viewer.running import listen
from oracles.models import small_model


@contextmanager
def viewing(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process of the command, and the address that it printed."""
    command = [sys.executable, "-m", "implicitkit", "view", *map(str, arguments), "--no-browser", "--port", "0"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate(timeout=20)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return small_model(skip="bilinear").save(tmp_path / "m.safetensors")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent as POSIX does")
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "while it renders"])
def test_it_serves_until_ctrl_c_and_ends_cleanly(weights: Path, folder: Path, busy: bool) -> None:
    with viewing(folder, "--model", weights) as (process, address):
        with urllib.request.urlopen(f"{address}scene", timeout=60) as answer:
            scene = json.load(answer)
        assert scene["pictures"] == ["a.png", "b.png"] and scene["models"][0]["name"] == str(weights)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(address.rpartition("/")[0][:-1] + "/scene", timeout=60)
        if busy:
            rendering = urllib.request.Request(f"{address}view?width=4000&height=3000&client=c&turn=1")
            with pytest.raises(OSError):
                urllib.request.urlopen(rendering, timeout=0.5)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert out.splitlines()[-1] == "ended" and "Traceback" not in err
        assert time.monotonic() - start < 30


def test_a_port_in_use_is_one_line(run, weights: Path, folder: Path) -> None:
    with listen("127.0.0.1", 0) as listener:
        done = run("view", folder / "a.png", "--model", weights, "--port", listener.getsockname()[1])
    assert done.code == 2 and len(done.err.splitlines()) == 1 and "choose another --port" in done.err


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_without_the_extra_one_line_says_what_to_install(
    run, folder: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    done = run("view", folder / "a.png")
    assert done.code == 2
    assert (
        done.err == f"error: implicitkit view needs {missing}, which is not installed: pip install 'implicitkit[app]'\n"
    )


def test_mistakes_are_one_line(run, weights: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    port = ("--port", "0")
    for arguments, message in [
        ((tmp_path / "none.png", *port), "there is no file"),
        ((tmp_path / "bad.png", "--model", weights, *port), "bad.png"),
        ((folder, "--model", "no_such_model", *port), "no_such_model"),
        ((folder, *(f"--model=m{k}" for k in range(9)), *port), "at most 8 models are compared; received 9"),
        ((folder, "--model", small_model(out_channels=7).save(tmp_path / "seven.safetensors"), *port), "RGB"),
        ((folder, "--port", "70000"), "65535"),
    ]:
        done = run("view", *arguments)
        assert done.code == 2 and message in done.err and len(done.errors) == 1, (arguments, done.err)


def test_the_socket_is_free_when_it_fails(run, folder: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert run("view", folder, "--model", "no_such_model", "--port", port).code == 2
    listen("127.0.0.1", port).close()

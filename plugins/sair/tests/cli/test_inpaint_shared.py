"""``accelerate launch -m implicitkit inpaint``: two processes on one folder."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from painters import disc, picture

import implicitkit as ik


@pytest.mark.slow
def test_two_processes_of_accelerate_share_a_folder_and_go_on(run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for k, name in enumerate("abcde"):
        ik.write_image(tmp_path / "in" / f"{name}.png", picture(18, 20) * (1 - 0.1 * k))
    ik.write_image(tmp_path / "mask.png", disc(18, 20))
    call = ("inpaint", tmp_path / "in", tmp_path / "mask.png", "--model", "harmonic", "-o")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    start = [*launch, "--main_process_port", str(port), "-m", "implicitkit", *map(str, call), str(tmp_path / "two")]

    def shared(*more: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run([*start, *more], capture_output=True, text=True, env=environment, timeout=300)

    done = shared()
    assert done.returncode == 0, done.stderr
    assert "5 of 5 pictures done by 2 processes" in done.stderr
    assert run(*call, tmp_path / "one").code == 0
    for name in "abcde":
        assert (tmp_path / "two" / f"{name}.png").read_bytes() == (tmp_path / "one" / f"{name}.png").read_bytes()
    (tmp_path / "two" / "b.png").unlink()
    kept = (tmp_path / "two" / "c.png").stat().st_mtime_ns
    again = shared("--skip-existing")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "two" / "b.png").is_file() and (tmp_path / "two" / "c.png").stat().st_mtime_ns == kept

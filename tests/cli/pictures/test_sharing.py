"""Several processes on one folder."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import implicitkit as ik
from implicitkit.cli.pictures.sharing import Share, this_share
from implicitkit.errors import UserError
from oracles.models import small_model


def test_every_thing_is_one_process_s() -> None:
    things = list(range(7))
    shares = [Share(rank, 3).of(things) for rank in range(3)]
    assert (
        sorted(thing for share in shares for thing in share) == things
        and max(map(len, shares)) - min(map(len, shares)) == 1
    )
    assert Share().of(things) == things and Share().is_first and not Share(1, 2).is_first


def test_a_process_knows_its_share() -> None:
    assert this_share({}) == Share(0, 1)
    assert this_share({"RANK": "2", "WORLD_SIZE": "3"}) == Share(2, 3)
    for rank, count in (("3", "3"), ("x", "2"), ("0", "-1")):
        with pytest.raises(UserError, match="RANK and WORLD_SIZE do not say which process this is"):
            this_share({"RANK": rank, "WORLD_SIZE": count})


def test_each_process_has_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert Share(3, 4).device("auto") == "cuda:1"
    assert Share(3, 4).device("cpu") == "cpu" and Share().device("auto") == "auto"


def in_two(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command, by two processes that torchrun starts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}  # a table says how many there are
    return subprocess.run(
        [*start, "-m", "implicitkit", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )


@pytest.mark.slow
def test_two_processes_share_a_folder_and_speak_once(folder: Path, tmp_path: Path, run) -> None:
    for name in "cd":
        (folder / f"{name}.png").write_bytes((folder / "a.png").read_bytes())
    call = ("degrade", folder, "--spec", "{name: noise, sigma: 20}", "-o")
    done = in_two(*call, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert sorted(line.split()[0] for line in done.stdout.splitlines()) == [str(folder / f"{n}.png") for n in "abcd"]
    assert done.stderr.count("pictures done") == 1 and "4 of 4 pictures done by 2 processes" in done.stderr
    assert run(*call, tmp_path / "one").code == 0
    for file in (tmp_path / "one").glob("[!.]*"):  # the same random numbers, whoever draws them
        assert (tmp_path / "two" / file.name).read_bytes() == file.read_bytes()
    for file in (tmp_path / "two").glob("b*"):
        file.unlink()
    resumed = in_two(*call, tmp_path / "two", "--skip-existing")
    assert resumed.returncode == 0 and "3 were there already" in resumed.stderr
    assert [line.split()[0] for line in resumed.stdout.splitlines()] == [str(folder / "b.png")]


def flat(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The numbers of a report by their paths; other values as texts at the end of theirs."""
    if isinstance(tree, dict):
        for key, inner in tree.items():
            yield from flat(inner, (*path, key))
    elif isinstance(tree, float):
        yield path, tree
    else:
        yield (*path, repr(tree)), 0.0


@pytest.mark.slow
def test_two_processes_score_as_one_does(folder: Path, tmp_path: Path, run) -> None:
    for name in "cd":
        ik.write_image(folder / f"{name}.png", ik.read_image(folder / "a.png").flip(2 if name == "c" else 1))
    weights = small_model(skip="bilinear").save(tmp_path / "m.safetensors")
    (folder / "z.png").write_bytes(b"\x89PNG\r\n\x1a\n, and no more")
    call = ("evaluate", "--model", weights, "--data", folder, "--scales", "2", "3", "-o")
    one = run(*call, tmp_path / "one.json")
    two = in_two(*call, tmp_path / "two.json")
    assert one.code == 2 and "error: 1 of the pictures failed" in two.stderr
    assert two.stdout == one.out
    reports = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two")]
    alone, shared = ({k: v for k, v in flat(report) if k[0] != "seconds"} for report in reports)
    assert shared == pytest.approx(alone, rel=1e-5)  # two processes may round differently
    assert list(reports[1]["per_picture"]["m"]["2"]["psnr_y"]) == ["a", "b", "c", "d"]

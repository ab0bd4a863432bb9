"""One training in two processes, by each launcher, on CPUs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

import implicitkit as ik
from implicitkit.training.processes import join, launch_words, ranks_to_start, world_size
from oracles.reduced import DECODERS
from oracles.runs import furthest, identical, run, settings, weights

TESTS = Path(__file__).parents[1]
TORCHRUN = ["torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29617"]
ACCELERATE = ["accelerate.commands.launch", "--cpu", "--num_processes", "2", "--main_process_port", "29619"]


def launched(launcher: list[str], folder: Path, *arguments: str) -> str:
    """What two processes print on stderr."""
    paths = os.pathsep.join(filter(None, [str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH")]))
    environment = {k: v for k, v in os.environ.items() if k != "ACCELERATE_USE_CPU"}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, "OUT": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", *launcher, "-m", "oracles.ranks", "train", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_two_processes_are_one_training(tmp_path: Path, launcher: list[str]) -> None:
    """Their weights are the same; those of one process are too, up to rounding; a resumed run goes on with both."""
    alone = run(settings(tmp_path / "alone", steps=8))
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump(settings(tmp_path / "pair", steps=4)))
    said = launched(launcher, tmp_path, str(file))
    assert "training on cpu in float32, 2 processes, 2 crops per step each" in said
    first, second = (load_file(tmp_path / f"rank-{rank}.safetensors") for rank in (0, 1))
    assert identical(first, second) and identical(first, weights(tmp_path / "pair"))
    if launcher is TORCHRUN:
        assert "resumed at step 4" in launched(launcher, tmp_path, str(file), "--resume", "--set", "steps=8")
        first, second = (load_file(tmp_path / f"rank-{rank}.safetensors") for rank in (0, 1))
        assert identical(first, second) and furthest(weights(alone), first) < 1e-5
    log = [json.loads(line) for line in (tmp_path / "pair" / "log.jsonl").read_text().splitlines()]
    starts = [entry for entry in log if entry["event"] == "start"]
    assert [entry["processes"] for entry in starts] == [2] * (2 if launcher is TORCHRUN else 1)  # one process writes


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["clit", "linf_patch", "srno", "lm_lte", "gsasr"])
def test_two_processes_train_decoders_of_whole_questions(tmp_path: Path, decoder: str) -> None:
    """Their work depends on all points of a step; ``clit`` leaves its second stage out where no point needs it."""
    encoder, small = {"name": "edsr", "blocks": 1, "channels": 8}, DECODERS[decoder]
    if decoder == "clit":
        small = {**small, "scale_base": 3.0}
    made = settings(tmp_path / "pair", steps=4, batch=2, model={"encoder": encoder, "decoder": small})
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump(made))
    launched(TORCHRUN, tmp_path, str(file))
    assert identical(*(load_file(tmp_path / f"rank-{rank}.safetensors") for rank in (0, 1)))


def test_a_training_alone_joins_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    assert join("float32").num_processes == 1
    assert join("bfloat16").mixed_precision == "bf16"  # a second training in the same program may differ
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "3")
    monkeypatch.setattr("implicitkit.training.processes.Accelerator", lambda **_: join_alone)
    join_alone = type("Alone", (), {"num_processes": 1, "device": "cpu"})()
    with pytest.raises(ik.UserError, match="3 processes were started, but they cannot work together on cpu"):
        join("float32")


def test_what_accelerate_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ranks_to_start({}) is None and world_size({"WORLD_SIZE": "", "PMI_SIZE": "2"}) == 2
    launched = {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_USE_CPU": "True", "MASTER_PORT": "29500"}
    assert ranks_to_start({**launched, "LOCAL_RANK": "1"}) is None
    assert ranks_to_start({**launched, "PMI_SIZE": "2"}) is None  # MPI has started them
    with pytest.raises(ik.UserError, match="torchrun --nproc_per_node N"):
        ranks_to_start(launched)
    words = ["python", "/bin/accelerate-launch", "--cpu", "--num_processes=6", "--num_machines=2", "--machine_rank=1"]
    words += ["--main_process_ip=10.0.0.1", "-m", "implicitkit", "train", "c.yaml"]
    parents = [
        type("Shell", (), {"cmdline": lambda self: ["bash"]})(),
        type("It", (), {"cmdline": lambda self: words})(),
    ]
    monkeypatch.setattr("psutil.Process.parents", lambda self: parents)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "implicitkit", "train", "c.yaml"])
    command = ranks_to_start({**launched, "MASTER_ADDR": "10.0.0.1"})
    assert command is not None
    asked = dict(zip(command[3:13:2], command[4:13:2], strict=True))
    assert asked == {
        "--nnodes": "2",
        "--node_rank": "1",
        "--nproc_per_node": "3",
        "--master_addr": "10.0.0.1",
        "--master_port": "29500",
    }
    assert command[-5:] == [sys.executable, "-m", "implicitkit", "train", "c.yaml"]
    words[3] = "--num_processes=1"
    assert ranks_to_start(launched) is None


def test_words_behind_accelerate_launch() -> None:
    for call in (["x/accelerate", "launch"], ["python", "-m", "accelerate.commands.launch"], ["/b/accelerate-launch"]):
        assert launch_words([*call, "--cpu", "f.py"]) == ["--cpu", "f.py"]
    assert launch_words(["accelerate", "config"]) is None

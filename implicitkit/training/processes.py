"""The processes of a training: on GPUs, or on CPUs by gloo; one alone needs nothing.

    torchrun --nproc_per_node 2 -m implicitkit train CONFIG
    accelerate launch --cpu --num_processes 2 -m implicitkit train CONFIG

``accelerate launch --cpu`` leaves the start of the processes to MPI and starts one; :func:`ranks_to_start` is what it
was asked for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from implicitkit.devices import choose_device
from implicitkit.errors import UserError

MIXED_PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
WORLD_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")  # torchrun, then MPI's


def join(precision: str, handlers: Sequence[Any] = (), device: str = "auto") -> Accelerator:
    """Join the other processes of this training, if there are any.

    Args:
        precision: float32, bfloat16 or float16.
        handlers: accelerate's ``kwargs_handlers``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``; several processes choose theirs themselves.

    Raises:
        UserError: there is no such device, there are more processes than GPUs, or they cannot work together.
    """
    count = world_size(os.environ)
    cpu = False
    if device != "auto":
        chosen = choose_device(device)
        if count > 1 and chosen.index is not None:
            raise UserError(f"--device {device} is one device, for one process; {count} were started")
        cpu = chosen.type == "cpu"
        if chosen.type == "cuda" and chosen.index is not None:
            torch.cuda.set_device(chosen)
    alone = not (torch.distributed.is_available() and torch.distributed.is_initialized())
    AcceleratorState._reset_state(reset_partial_state=alone)  # a run before may have had another precision
    if count > 1 and not cpu:
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        cpu = accelerator is None or accelerator.type == "mps"
        local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        use_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes", "on", "y", "t")
        if not cpu and not use_cpu and local > torch.accelerator.device_count():
            raise UserError(
                f"{local} processes on a machine with {torch.accelerator.device_count()} GPUs; start one for each GPU, "
                "or set ACCELERATE_USE_CPU=true to train on the CPU"
            )
    joined = Accelerator(mixed_precision=MIXED_PRECISIONS[precision], kwargs_handlers=list(handlers), cpu=cpu)
    if joined.num_processes != count:
        raise UserError(
            f"{count} processes were started, but they cannot work together on {joined.device}; start one, or set "
            "ACCELERATE_USE_CPU=true"
        )
    return joined


def world_size(environment: Mapping[str, str]) -> int:
    """The number of processes that were started for one training.

    >>> world_size({"WORLD_SIZE": "4"}), world_size({})
    (4, 1)
    """
    return next((int(environment[name]) for name in WORLD_SIZES if environment.get(name, "").isdecimal()), 1)


def ranks_to_start(environment: Mapping[str, str]) -> list[str] | None:
    """The command that starts what ``accelerate launch --cpu --num_processes N`` was asked for; None if all runs
    already.

    Raises:
        UserError: several processes were asked for, but nothing says how many.
    """
    launched = "ACCELERATE_MIXED_PRECISION" in environment and "MASTER_PORT" in environment
    if not launched or environment.get("ACCELERATE_USE_CPU", "").lower() != "true" or "LOCAL_RANK" in environment:
        return None
    if world_size(environment) > 1:
        return None
    calls = (words for parent in psutil.Process().parents() if (words := launch_words(parent.cmdline())) is not None)
    words = next(calls, None)
    if words is None:
        raise UserError(
            "accelerate started one process where several were asked for; start them by "
            "torchrun --nproc_per_node N -m implicitkit train CONFIG"
        )
    from accelerate.commands.config import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    call = launch_command_parser().parse_args(words)
    stored = None if call.cpu and call.config_file is None else load_config_from_file(call.config_file)
    processes, machines, rank = (
        getattr(call, name) if getattr(call, name) is not None else getattr(stored, name, usual)
        for name, usual in (("num_processes", 1), ("num_machines", 1), ("machine_rank", 0))
    )
    if processes <= 1:
        return None
    nodes = ["--nnodes", str(machines), "--node_rank", str(rank), "--nproc_per_node", str(processes // machines)]
    address = [
        "--master_addr",
        environment.get("MASTER_ADDR", "127.0.0.1"),
        "--master_port",
        environment["MASTER_PORT"],
    ]
    run = [sys.executable, "-m", "torch.distributed.run", *nodes, *address, "--no_python"]
    return [*run, sys.executable, *sys.orig_argv[1:]]


def launch_words(command: Sequence[str]) -> list[str] | None:
    """What follows ``accelerate launch`` in a command; None if it is another command.

    >>> launch_words(["python", "/bin/accelerate", "launch", "--cpu", "train.py"])
    ['--cpu', 'train.py']
    >>> launch_words(["bash"])
    """
    for k, word in enumerate(command):
        name = Path(word).name
        if name in ("accelerate", "accelerate.exe") and command[k + 1 : k + 2] == ["launch"]:
            return list(command[k + 2 :])
        if name in ("accelerate-launch", "accelerate.commands.launch") or word.endswith(
            "accelerate/commands/launch.py"
        ):
            return list(command[k + 1 :])
        if name == "accelerate.commands.accelerate_cli" and command[k + 1 : k + 2] == ["launch"]:
            return list(command[k + 2 :])
    return None

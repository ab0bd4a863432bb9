"""Commands measured from outside: how long a process ran and how much memory it held at most."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from implicitkit.errors import UserError

# a process that is started by a large one is charged with its parent's memory; this small one stands between them
LAUNCHER = """
import json, os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
output = process.stdout.read()
_, status, usage = os.wait4(process.pid, 0)
taken = time.perf_counter() - start
process.returncode = os.waitstatus_to_exitcode(status)
unit = 1 if sys.platform == "darwin" else 1024
print(json.dumps([process.returncode, taken, usage.ru_maxrss * unit, output.decode(errors="replace")]))
"""


class Child(NamedTuple):
    """What a process took."""

    seconds: float
    peak: int
    """Bytes of resident memory, at most."""
    output: str


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Child:
    """Run ``command`` and measure it.

    Raises:
        UserError: it failed (the message ends with its last line), or this system cannot say how much memory a process
            used.
    """
    if not hasattr(os, "wait4"):
        raise UserError("the memory of a process can be measured on Linux and macOS alone")
    launched = subprocess.run(
        [sys.executable, "-c", LAUNCHER, *command],
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    if launched.returncode:
        raise UserError(f"{command[0]} could not be run: {(launched.stderr.strip() or 'no output').splitlines()[-1]}")
    code, seconds, peak, output = json.loads(launched.stdout)
    if code:
        raise UserError(f"{' '.join(command)} failed: {(output.strip() or f'exit code {code}').splitlines()[-1]}")
    return Child(seconds, peak, output)

"""The threads of the CPU kernels: PyTorch's own where they are there, in a forked process others."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from implicitkit.kernels import compiled
from oracles.kernel import needs_compiler

pytestmark = needs_compiler

HARNESS = """
#include <stdatomic.h>
#include "threads.h"
static void once(void *calls) { atomic_fetch_add((atomic_llong *)calls, 1); }
long long calls(int64_t threads) {
    atomic_llong made = 0;
    in_parallel(once, &made, threads);
    return made;
}
int shares_pytorchs(void) {
    void (*volatile theirs)(void (*)(void *), void *, unsigned, unsigned) = GOMP_parallel;
    return theirs != NULL;
}
"""
IN_A_CHILD = """
import ctypes, os, sys, torch
torch.set_num_threads(2)
torch.rand(1 << 22).sum()  # PyTorch's threads have begun
library = ctypes.CDLL(sys.argv[1])
assert library.calls(ctypes.c_int64(2)) == 2
child = os.fork()
if child == 0:
    os._exit(0 if library.calls(ctypes.c_int64(3)) == 3 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    source = tmp_path_factory.mktemp("threads") / "harness.c"
    source.write_text(HARNESS)
    command = [*(compiled.find_compiler() or []), *compiled.COMPILER_FLAGS, f"-I{compiled.HEADERS[0].parent}"]
    built = source.with_suffix(".so")
    subprocess.run([*command, str(source), "-o", str(built), *compiled.LIBRARIES], check=True)
    return ctypes.CDLL(str(built))


@pytest.mark.parametrize("threads", [1, 2, 3, 1000])
def test_each_thread_works_once(harness: ctypes.CDLL, threads: int) -> None:
    assert 1 <= harness.calls(ctypes.c_int64(threads)) <= min(threads, 256)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="PyTorch has other threads here")
def test_they_are_pytorchs_where_it_has_brought_them(harness: ctypes.CDLL) -> None:
    brought = "gomp" in Path("/proc/self/maps").read_text()
    assert bool(harness.shares_pytorchs()) == brought
    assert brought or "OpenMP" not in torch.__config__.parallel_info()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_has_threads_of_its_own(harness: ctypes.CDLL) -> None:
    subprocess.run([sys.executable, "-c", IN_A_CHILD, str(harness._name)], check=True, timeout=120)

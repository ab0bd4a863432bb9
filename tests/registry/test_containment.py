from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from implicitkit.registry.containment import contained
from implicitkit.registry.plugins import VARIABLE

CHANGES = """
import gc, locale, os, random, signal, sys, threading, warnings
import numpy, torch
print("loaded")
os.chdir("/"); os.umask(0o777); locale.setlocale(locale.LC_ALL, "C"); gc.disable()
random.seed(1); numpy.random.seed(1); torch.manual_seed(1)
sys.setrecursionlimit(5000); warnings.simplefilter("error")
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
    signal.signal(number, signal.SIG_IGN)
sys.excepthook = sys.unraisablehook = sys.displayhook = threading.excepthook = lambda *_: None
warnings.showwarning = lambda *_: None
numpy.seterr(all="raise"); numpy.set_printoptions(precision=1)
torch.set_default_dtype(torch.float64); torch.set_grad_enabled(False); torch.set_default_device("meta")
torch.use_deterministic_algorithms(True); torch.set_float32_matmul_precision("medium")
torch.set_num_threads(torch.get_num_threads() + 3); torch.autograd.set_detect_anomaly(True)
torch.set_printoptions(precision=1, sci_mode=True); torch.backends.cudnn.benchmark = True
"""
SHOW = """
def show():
    import gc, locale, os, random, signal, sys, threading, warnings
    import numpy, torch
    mask = os.umask(0); os.umask(mask)
    yield "folder", os.getcwd()
    yield "umask", mask
    yield "locale", locale.setlocale(locale.LC_ALL)
    yield "random", hash(random.getstate())
    yield "process", (sys.getrecursionlimit(), gc.isenabled())
    yield "errors", [rule for rule in warnings.filters if rule[0] == "error"]
    yield "signals", [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)]
    yield "hooks", (sys.excepthook, sys.unraisablehook, sys.displayhook, threading.excepthook, warnings.showwarning)
    yield "numpy random", numpy.random.get_state()[1].tobytes()
    yield "numpy", (numpy.geterr(), numpy.get_printoptions())
    yield "torch random", torch.get_rng_state().tolist()
    yield "dtype", torch.get_default_dtype()
    yield "grad", torch.is_grad_enabled()
    yield "device", torch.get_default_device()
    yield "deterministic", torch.are_deterministic_algorithms_enabled()
    yield "precision", torch.get_float32_matmul_precision()
    yield "threads", torch.get_num_threads()
    yield "anomaly", torch.is_anomaly_enabled()
    yield "printing", dict(vars(torch._tensor_str.PRINT_OPTS))
    yield "cudnn", torch.backends.cudnn.benchmark
"""
HOOK = "import implicitkit as ik\n@ik.hookimpl\ndef register_losses(register): register('x', dict)\n"


@pytest.mark.slow
@pytest.mark.parametrize("first", ["", "import numpy, torch; torch.manual_seed(7); numpy.random.seed(7)"])
def test_a_plugin_changes_no_setting_of_the_process(first: str, tmp_path: Path) -> None:
    """With torch there before, and with torch imported by the plugin: in each, all is as without the plugin."""
    (tmp_path / "noisy.py").write_text(CHANGES + HOOK)
    (tmp_path / "show.py").write_text(SHOW)
    look = "from implicitkit.registry.kinds import losses\nassert ('x' in losses) is (sys.argv[1] == 'noisy')\n"
    code = (
        f"import sys\n{first}\nimport warnings\n"
        f"{look}from show import show\nimport random\n"
        "for name, value in show():\n    if name != 'random': print(name, value)\n"
        if first
        else f"import sys\nassert 'torch' not in sys.modules\n{look}from show import show\n"
        "for name, value in show():\n    if 'random' not in name: print(name, value)\n"
    )
    shown = []
    for plugin in ("noisy", "none"):
        environment = {"PYTHONPATH": ":".join([str(tmp_path), *sys.path]), VARIABLE: f"none,{plugin}", "PATH": ""}
        ran = subprocess.run(
            [sys.executable, "-c", code, plugin], env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        shown.append(re.sub(r" at 0x\w+", "", ran.stdout))
        assert ("loaded" in ran.stderr) is (plugin == "noisy")
    assert shown[0].splitlines() == shown[1].splitlines()


def test_seeds_that_a_plugin_sets_are_put_back() -> None:
    import random

    import numpy
    import torch

    numpy.random.seed(3)
    torch.manual_seed(3)
    random.seed(3)
    expected = random.random(), numpy.random.rand(), torch.rand(1)
    numpy.random.seed(3)
    torch.manual_seed(3)
    random.seed(3)
    with contained():
        random.seed(1)
        numpy.random.seed(1)
        torch.manual_seed(1)
        torch.set_default_device("meta")
    assert (random.random(), numpy.random.rand(), torch.rand(1)) == expected


def test_what_programs_and_c_code_print_is_no_part_of_stdout(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(
        "import ctypes, os\nprint('python')\nos.write(1, b'raw ')\nos.system('echo program')\n"
        "ctypes.CDLL(None).printf(b'c code')\n" + HOOK
    )
    command = [sys.executable, "-m", "implicitkit", "plugins", "--json"]
    env = {**os.environ, VARIABLE: "noisy", "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=True)
    assert json.loads(done.stdout)[-1]["name"] == "noisy"
    assert all(word in done.stderr for word in ("python", "raw ", "program", "c code"))


def test_threads_leave_stdout_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    with contained():
        os.write(1, b"outer ")
        with contained():
            os.write(1, b"inner ")
        os.write(1, b"outer again")
    os.write(1, b"mine")
    printed = capfd.readouterr()
    assert printed.out == "mine" and printed.err == "outer inner outer again"

"""``implicitkit doctor``."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import pytest
import torch

from implicitkit import files
from implicitkit.cli import doctor
from implicitkit.registry import kinds

SECTIONS = ["versions", "system", "devices", "kernels", "caches", "plugins", "weights", "environment"]


def test_the_report_says_what_is_there(run, anew: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (anew.parent / "pictures").mkdir(parents=True)
    (anew.parent / "pictures" / "a.npy").write_bytes(b"x" * 2000)
    monkeypatch.setenv("IMPLICITKIT_KERNELS", "0")
    report = json.loads(run("doctor", "--json").out)
    assert list(report) == SECTIONS
    assert report["versions"]["python"].startswith(platform.python_version())
    assert report["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert report["caches"]["pictures"].endswith("(1 file, 2.0 kB)")
    assert report["caches"]["kernels"].endswith("(not there)")
    assert report["kernels"]["C kernel"] == "turned off by IMPLICITKIT_KERNELS=0"
    assert report["weights"] == {"liif_small": "1.1 MB", "fast": "828.6 kB", "fast_real": "828.9 kB"}
    assert report["environment"]["IMPLICITKIT_PLUGINS"] == "none"
    done = run("doctor")
    assert done.code == 0 and done.err == ""
    assert [line for line in done.out.splitlines() if not line.startswith(" ")] == [*SECTIONS, doctor.ADVICE]


def test_a_part_that_fails_says_so_and_nothing_else_is_lost(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMPLICITKIT_CACHE", str(tmp_path))  # without fetched weights

    class Mute(BaseException):
        def __str__(self) -> str:
            raise RuntimeError("no")

    def leave(*_: object) -> None:
        sys.exit("gone")

    def no_folder() -> Path:
        raise Mute

    monkeypatch.setattr(torch.cuda, "device_count", leave)
    monkeypatch.setattr(files, "cache_folder", no_folder)
    monkeypatch.setattr(kinds, "shipped_file", lambda entry: Path("/nowhere/x.safetensors"))
    done = run("doctor", "--json")
    report = json.loads(done.out)
    assert done.code == 0 and list(report) == SECTIONS
    assert report["devices"] == {"failed": "SystemExit: gone"}
    assert report["caches"]["pictures"] == "failed: Mute"
    assert "torch hub" in report["caches"] and "failed" not in report["caches"]["torch hub"]
    assert report["weights"] == dict.fromkeys(
        ("liif_small", "fast", "fast_real"), "MISSING (looked for /nowhere/x.safetensors)"
    )


def test_plugins_and_their_failures_are_listed(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("print('hello')\nraise GeneratorExit('early')")
    (tmp_path / "fine.py").write_text(
        "import implicitkit as ik\n\n@ik.hookimpl\ndef register_metrics(register):\n    register('fine_example', dict)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("IMPLICITKIT_PLUGINS", "none,broken,fine")
    kinds.plugins._forget()
    try:
        with pytest.warns(UserWarning, match="GeneratorExit: early"):
            kinds.plugins.load()
        rows = json.loads(run("doctor", "--json").out)["plugins"]
    finally:
        kinds.plugins._forget()
    assert rows["broken"] == "broken (no distribution), IMPLICITKIT_PLUGINS, FAILED: GeneratorExit: early"
    assert rows["fine"].startswith("fine (no distribution), IMPLICITKIT_PLUGINS, 1 names in ")


def test_the_home_folder_is_a_tilde(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert doctor.shown(tmp_path / "a\nb") == "~/a b"
    monkeypatch.setenv("HOME", "/")
    assert doctor.shown("/a/b") == "/a/b"


def test_a_kernel_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from implicitkit.kernels import compiled, cpu

    monkeypatch.delenv("IMPLICITKIT_KERNELS", raising=False)
    monkeypatch.setattr(cpu, "kernels", dict)
    monkeypatch.setattr(compiled, "library", lambda source: object())
    assert "DISAGREES" in doctor._kernels()["C kernel"]
    monkeypatch.setattr(compiled, "library", lambda source: None)
    assert "does not compile here" in doctor._kernels()["C kernel"]

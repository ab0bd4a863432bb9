"""Memory that runs out, memory that is free, and the precision that ``auto`` chooses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import implicitkit as ik
from implicitkit import devices
from implicitkit.devices import bfloat16_speedup, explain_precision, free_memory, is_out_of_memory, unless_out_of_memory
from oracles.memory import ERRORS


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_every_way_of_saying_so_is_understood(error: BaseException) -> None:
    def fail() -> None:
        raise error

    assert is_out_of_memory(error) and unless_out_of_memory(fail) is None


def test_a_real_failure_is_understood() -> None:
    assert unless_out_of_memory(lambda: torch.empty(1 << 60, dtype=torch.uint8)) is None


def test_other_errors_pass() -> None:
    def fail() -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        unless_out_of_memory(fail)
    assert not is_out_of_memory(ValueError("out of memory"))


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, used = tmp_path / "max", tmp_path / "current"
    limit.write_text("5000\n")
    used.write_text("2000\n")
    monkeypatch.setattr(devices, "CONTAINER_LIMITS", ((limit, used), (tmp_path / "no", tmp_path / "such")))
    assert free_memory(torch.device("cpu")) == 3000
    limit.write_text("max\n")
    assert free_memory(torch.device("cpu")) > 10**6


def test_auto_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert explain_precision("float32", cpu) == ("float32", "")
    assert explain_precision("auto", cpu, bits=16) == (
        "float32",
        "bfloat16 keeps 8 bits of a value, the picture has 16",
    )
    for amx, avx, ratio, expected in (
        (True, True, 3.0, ("bfloat16", "measured 3.0 times as fast as float32, by AMX")),
        (False, True, 1.9, ("bfloat16", "measured 1.9 times as fast as float32, by AVX512-BF16")),
        (False, True, 0.58, ("float32", "bfloat16, by AVX512-BF16, is measured 0.58 times as fast")),
        (False, False, 9.0, ("float32", "the processor has no instructions for bfloat16")),
    ):
        monkeypatch.setattr(devices, "bfloat16_speedup", lambda ratio=ratio: ratio)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx, raising=False)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda avx=avx: avx, raising=False)
        assert explain_precision("auto", cpu) == expected
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert explain_precision("auto", cuda) == ("bfloat16", "the GPU multiplies it")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert explain_precision("auto", cuda)[0] == "float32"
    assert explain_precision("auto", torch.device("mps"))[0] == "float32"
    with pytest.raises(ik.UserError, match="the precision is auto"):
        explain_precision("half", cpu)


def test_bfloat16_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def measure() -> float:
        measured.append(1)
        return 0.5813

    monkeypatch.setattr(devices, "cache_folder", lambda: tmp_path / "new")
    monkeypatch.setattr(devices, "_measure_bfloat16", measure)
    assert bfloat16_speedup() == bfloat16_speedup() == 0.581 and len(measured) == 1
    threads = torch.get_num_threads()
    with devices.cpu_threads(threads + 1):
        bfloat16_speedup()
    assert len(measured) == 2, "another number of threads is another machine"
    assert bfloat16_speedup() == 0.581 and len(measured) == 2, "the first is still known"
    for damaged in ("", "[1]", "{", '{"x": "y"}'):
        (tmp_path / "new/bfloat16.json").write_text(damaged)
        assert bfloat16_speedup() == 0.581
    assert len(measured) == 6


def test_a_cache_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(devices, "cache_folder", lambda: tmp_path / "file/below")
    assert bfloat16_speedup() > 0

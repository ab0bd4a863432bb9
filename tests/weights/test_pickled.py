"""Pickles are read without executing anything."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import implicitkit as ik
from implicitkit.errors import WeightsError
from implicitkit.weights.pickled import read_pickled


class Surprise:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed!",)


def test_a_foreign_pickle_is_refused_and_not_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model": Surprise()}, tmp_path / "x.pth")
    with pytest.raises(ik.WeightsError, match="could execute code"):
        ik.load_model(tmp_path / "x.pth")
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("end", [-1, -60, 400, 8])
def test_a_file_that_was_cut_is_named(end: int, tmp_path: Path) -> None:
    torch.save({"weight": torch.rand(40, 40)}, tmp_path / "x.pth")
    whole = (tmp_path / "x.pth").read_bytes()
    assert read_pickled(tmp_path / "x.pth")["weight"].shape == (40, 40)
    (tmp_path / "x.pth").write_bytes(whole[:end])
    with pytest.raises(WeightsError, match="x.pth is a damaged or incomplete file"):
        read_pickled(tmp_path / "x.pth")

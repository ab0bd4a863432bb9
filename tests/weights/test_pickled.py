"""Pickles are read without executing anything."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import implicitkit as ik


class Surprise:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed!",)


def test_a_foreign_pickle_is_refused_and_not_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model": Surprise()}, tmp_path / "x.pth")
    with pytest.raises(ik.WeightsError, match="could execute code"):
        ik.load_model(tmp_path / "x.pth")
    assert "executed" not in capsys.readouterr().out

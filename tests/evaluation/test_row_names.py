"""Rows are named by their run's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

import implicitkit as ik
from implicitkit.evaluation.row_names import row_names


@pytest.mark.parametrize(
    ("models", "rows"),
    [
        (["liif_small"], ["liif_small"]),
        (["m.safetensors"], ["m"]),
        (["x/m.pth", "y/m.pth"], ["x/m", "y/m"]),
        (["x/a/best.safetensors", "y/a/best.safetensors", "z/b/best.safetensors"], ["x/a/best", "y/a/best", "b"]),
        (["c/LIIF/seed-0/best.safetensors", "c/LTE/seed-0/best.safetensors"], ["LIIF/seed-0", "LTE/seed-0"]),
        (["a/checkpoints/step-6/model.safetensors", "a/best.safetensors"], ["step-6", "a"]),
        (["a/best.safetensors", "a/last.safetensors", "a"], ["a/best", "a/last", "a"]),
    ],
)
def test_rows(models: list[str], rows: list[str]) -> None:
    assert row_names(models) == rows


def test_the_folder_one_stands_in_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert row_names(["best.safetensors"]) == [tmp_path.name]


def test_one_model_given_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ik.UserError, match=r"\./a/best\.safetensors is given twice"):
        row_names(["a/best.safetensors", "b/best.safetensors", "./a/best.safetensors"])

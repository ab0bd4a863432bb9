"""Hugging Face datasets: the real package where it is installed, else what it is asked for."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import implicitkit as ik

PICTURE = np.arange(10 * 12 * 3, dtype=np.uint8).reshape(10, 12, 3)


INSTALLED = importlib.util.find_spec("datasets")  # without an origin it is this very folder


@pytest.mark.skipif(INSTALLED is None or INSTALLED.origin is None, reason="datasets is not installed")
def test_a_small_local_dataset(tmp_path: Path) -> None:
    import datasets

    (tmp_path / "pictures").mkdir()
    for k in range(3):
        Image.fromarray(PICTURE + k).save(tmp_path / "pictures" / f"{k}.png")
    by_folder = ik.create_dataset(f"hf:{tmp_path / 'pictures'}")
    assert len(by_folder) == 3 and np.array_equal(by_folder[1], PICTURE + 1)
    pairs = datasets.Dataset.from_dict(
        {"lr": [Image.fromarray(PICTURE)], "hr": [Image.fromarray(PICTURE.repeat(2, 0).repeat(2, 1))]},
        features=datasets.Features({"lr": datasets.Image(), "hr": datasets.Image()}),
    )
    datasets.DatasetDict({"train": pairs}).save_to_disk(str(tmp_path / "stored"))
    stored = ik.create_dataset({"name": f"hf:{tmp_path / 'stored'}", "column": "hr", "input": "lr"})
    assert stored.paired and stored.pair(0).scale == 2
    with pytest.raises(ik.DataError, match="has no split 'test'; it has train"):
        ik.create_dataset(f"hf:{tmp_path / 'stored'}", split="test")


class Rows:
    """What ``datasets.Dataset`` is asked for."""

    def __init__(self) -> None:
        self.features = {"label": object(), "photo": type("Image", (), {})()}

    def __len__(self) -> int:
        return 2

    def __getitem__(self, k: int) -> dict[str, Any]:
        return {"label": 3, "photo": Image.fromarray(PICTURE)}


def test_columns_splits_and_names(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = ModuleType("datasets")
    asked: list[Any] = []
    stand_in.load_dataset = lambda *names, **how: asked.append((names, how)) or Rows()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", stand_in)
    dataset = ik.create_dataset({"name": "hf:Org/Name-x", "split": "train[:50%]"})
    assert asked == [(("Org/Name-x", None), {"split": "train[:50%]", "revision": None})]
    assert np.array_equal(dataset[0], PICTURE) and dataset.names[1] == "hf:Org/Name-x[1]"
    with pytest.raises(ik.DataError, match="has no column 'image'; it has label, photo"):
        ik.create_dataset("hf:Org/Name-x", column="image")


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        ik.MissingPackageError, match=r"hf:Org/Name needs datasets, .* pip install 'implicitkit\[datasets\]'"
    ):
        ik.create_dataset("hf:Org/Name")

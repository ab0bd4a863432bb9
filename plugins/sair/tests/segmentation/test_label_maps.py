"""Label maps as files, ADE20K's layout, and mIoU against sets of pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from semantics import NAMES, make_folder

from implicitkit.errors import DataError
from implicitkit.images.io import Picture, write_picture
from implicitkit_sair.segmentation.label_maps import (
    LabelledFolder,
    class_names,
    confusion,
    iou,
    mean_iou,
    read_label_map,
    write_label_map,
)


def literal_iou(labels: torch.Tensor, truth: torch.Tensor, classes: int) -> list[float]:
    """Sets of pixels, one class after the other; pixels whose truth is -1 are in none."""
    result = []
    for k in range(classes):
        pixels = [(a, t) for a, t in zip(labels.flatten().tolist(), truth.flatten().tolist(), strict=True) if t >= 0]
        answered = {i for i, (a, _) in enumerate(pixels) if a == k}
        there = {i for i, (_, t) in enumerate(pixels) if t == k}
        union = answered | there
        result.append(len(answered & there) / len(union) if union else float("nan"))
    return result


def test_iou_against_sets_of_pixels() -> None:
    labels, truth = torch.randint(0, 5, (13, 17)), torch.randint(-1, 4, (13, 17))
    truth[truth == 2] = -1
    labels[labels == 2] = 0
    table = confusion(labels, truth, 6)
    expected = torch.tensor(literal_iou(labels, truth, 6), dtype=torch.float64)
    assert torch.allclose(iou(table), expected, equal_nan=True)
    assert expected[[2, 5]].isnan().all() and expected[4] == 0  # nowhere; answered and never true
    assert mean_iou(table) == pytest.approx(float(expected[[0, 1, 3, 4]].mean()))
    assert int(table.sum()) == int((truth >= 0).sum())
    assert mean_iou(confusion(truth.clamp(min=0), truth, 6)) == 1
    where = torch.rand(13, 17) > 0.5
    hidden = torch.where(where, truth, -1)
    assert torch.equal(confusion(labels, truth, 6, where), confusion(labels, hidden, 6))


def test_label_maps_as_files(tmp_path: Path) -> None:
    stored = np.array([[0, 1, 2, 150, 255]], dtype=np.uint8)
    write_picture(tmp_path / "map.png", Picture(stored[..., None]))
    assert read_label_map(tmp_path / "map.png", 150).tolist() == [[-1, 0, 1, 149, -1]]
    with pytest.raises(DataError, match="holds the label 150; there are 149 classes"):
        read_label_map(tmp_path / "map.png", 149)
    write_picture(tmp_path / "colour.png", Picture(stored[..., None].repeat(3, 2)))
    with pytest.raises(DataError, match="is in colour"):
        read_label_map(tmp_path / "colour.png", 150)
    for labels in (torch.tensor([[0, 1, 253]]), torch.tensor([[0, 253, 254, 300]]), torch.tensor([[-1, 5]])):
        write_label_map(tmp_path / "ours.png", labels)
        assert torch.equal(read_label_map(tmp_path / "ours.png", 301), labels)


@pytest.mark.parametrize("validation", [False, True])
def test_the_layout(tmp_path: Path, validation: bool) -> None:
    folder = LabelledFolder.open(make_folder(tmp_path / "ade", validation=validation))
    assert folder.names == NAMES and list(folder.pairs) == ["a", "b"]
    assert LabelledFolder.open(folder.folder, ["r", "g", "b"]).names == ["r", "g", "b"]


def test_class_tables(tmp_path: Path) -> None:
    head = "Idx,Ratio,Train,Val,Stuff,Name\n"
    (tmp_path / "objectInfo150.csv").write_text(
        f"{head}2,0.1,1,1,1,screen;silver;screen\n1,0.1,1,1,1,screen;door\n3,0,0,0,0,sky"
    )
    assert class_names(tmp_path) == ["screen door", "screen silver screen", "sky"]
    for text in ("", "a,b\n1,2\n", f"{head}x,0,0,0,0,sky\n", f"{head}2,0,0,0,0,sky\n", f"{head}1,0,0,0,0,\n"):
        (tmp_path / "objectInfo150.csv").write_text(text)
        with pytest.raises(DataError):
            class_names(tmp_path)


def test_layouts_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        LabelledFolder.open(tmp_path / "none")
    folder = make_folder(tmp_path / "ade")
    (folder / "annotations" / "b.png").unlink()
    with pytest.raises(DataError, match="no label map for b"):
        LabelledFolder.open(folder)
    (folder / "annotations" / "a.png").rename(folder / "annotations" / "b.png")
    (folder / "objectInfo150.txt").unlink()
    (folder / "images" / "a.png").unlink()
    with pytest.raises(DataError, match="no objectInfo150"):
        LabelledFolder.open(folder)


# ---------------------------------------------------------------------------- the overlay

"""Meaning as a picture: scores and labels against literal versions, label maps, mIoU, the overlay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from semantics import COLOURS, NAMES, flag, make_folder, saved_semantics
from semantics import semantic_model as colours_model

import implicitkit as ik
from implicitkit.coordinates import grid
from implicitkit.errors import DataError, UnknownNameError, UserError
from implicitkit.images.io import Picture, write_picture
from implicitkit_sair.label_maps import (
    LabelledFolder,
    class_names,
    confusion,
    iou,
    mean_iou,
    read_label_map,
    write_label_map,
)
from implicitkit_sair.overlay import Panel, draw_overlay, legend, paint, palette
from implicitkit_sair.segmentation import before_completion, segment, semantic_field, semantic_model
from implicitkit_sair.vocabulary import Vocabulary, read_names


def literal_scores(field: ik.Field, embeddings: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Cosine at every pixel centre, one by one."""
    values = field(grid(size))
    rows = [[float(v @ e / (v.norm() * e.norm())) for v in values] for e in embeddings]
    return torch.tensor(rows).reshape(len(embeddings), *size)


@pytest.mark.parametrize("size", [(16, 24), (5, 7), (30, 31)])
def test_labels_and_scores_are_the_literal_ones(size: tuple[int, int]) -> None:
    field = saved_semantics().encode(flag(11, 13))
    embeddings = torch.randn(4, 6) * 3
    labels, scores = segment(field, ["a", "b", "c", "d"], size, embeddings=embeddings)
    assert labels.shape == size and labels.dtype == torch.int64 and scores.shape == (4, *size)
    expected = literal_scores(field, embeddings, size)
    assert (scores - expected).abs().max() < 1e-6
    assert torch.equal(labels, scores.argmax(0))


def test_stripes_have_their_colours() -> None:
    labels, scores = segment(colours_model().encode(flag()), NAMES, (16, 24), embeddings=5 * COLOURS)
    inner = [labels[:, 8 * k + 2 : 8 * k + 6] for k in range(3)]  # off the seams, which interpolation mixes
    assert all(bool((part == k).all()) for k, part in enumerate(inner))
    assert scores[0, 8, 2] == 1 and scores[1, 8, 2] == 0


def test_a_batch_and_a_window() -> None:
    pictures = torch.stack([flag(), flag().flip(2)])
    together = segment(colours_model().encode(pictures), NAMES, (9, 10), embeddings=COLOURS)
    assert together.labels.shape == (2, 9, 10) and together.scores.shape == (2, 3, 9, 10)
    alone = segment(colours_model().encode(pictures[1]), NAMES, (9, 10), embeddings=COLOURS)
    assert torch.equal(together.labels[1], alone.labels)
    left = segment(colours_model().encode(flag()), NAMES, (4, 4), box=(-1, -1, 1, -0.5), embeddings=COLOURS)
    assert bool((left.labels == 0).all())


def test_before_completion_is_the_encoders_own_map_interpolated() -> None:
    model = ik.create_model(
        {
            "encoder": {"name": "edsr", "blocks": 1, "channels": 6, "res_scale": 1.0, "mask_channels": 1},
            "decoder": {"name": "bilinear", "project": False},
            "inputs": ["image", "mask"],
        }
    ).eval()
    picture, mask = flag(), torch.zeros(1, 16, 24)
    mask[:, 4:9, 5:12] = 1
    shown = torch.where(mask > 0.5, 0.5, picture)
    features = model.encoder(torch.cat([shown, mask])[None]).map
    raw = before_completion(model.encode(picture, mask)).render((33, 20))
    expected = torch.nn.functional.interpolate(
        torch.nn.functional.pad(features, (1, 1, 1, 1), mode="replicate"), scale_factor=1
    )
    coords = grid((33, 20)) * torch.tensor([16 / 18, 24 / 26])  # in the padded map
    sampled = torch.nn.functional.grid_sample(expected, coords.flip(-1)[None, None], align_corners=False)
    assert (raw.flatten(1) - sampled[0, :, 0]).abs().max() < 1e-5
    twin = before_completion(model.encode(picture[None], mask[None])).render((33, 20))
    assert torch.equal(twin[0], raw)


def test_meaning_is_found_where_it_is() -> None:
    semantics, encoder = saved_semantics(), {"name": "edsr", "blocks": 1, "channels": 4}
    assert semantic_model(semantics) is semantics
    painter = ik.create_model({"encoder": encoder, "decoder": {"name": "liif", "hidden": [4]}})
    with pytest.raises(UserError, match="gives an embedding"):
        semantic_field(painter.encode(flag()))
    with pytest.raises(UserError, match="no condition 'meaning'"):
        semantic_field(painter.encode(flag()), "meaning")

    class Reads(ik.Decoder):
        in_channels, conditions, uses_cell = 4, ("semantic",), False

        def prepare(self, features, inputs, conditions):
            return None

        def query(self, latent, coords, cell, conditions):
            return conditions["semantic"][..., :3]

    both = ik.ImplicitModel(ik.create_encoder(encoder), Reads(), {"semantic": semantics})
    field = both.encode(flag())
    assert semantic_model(both) is semantics and semantic_field(field) is field.conditions["semantic"]
    direct = segment(semantics.encode(flag()), ["a", "b"], (6, 6), embeddings=torch.eye(6)[:2])
    assert torch.equal(segment(field, ["a", "b"], (6, 6), embeddings=torch.eye(6)[:2]).scores, direct.scores)


def test_what_segment_refuses() -> None:
    field = colours_model().encode(flag())
    with pytest.raises(UserError, match="3 values per point, the classes' embeddings 5"):
        segment(field, ["a", "b"], (4, 4), embeddings=torch.rand(2, 5))
    with pytest.raises(ValueError, match=r"2 classes take embeddings \(2, D\); received \(3, 3\)"):
        segment(field, ["a", "b"], (4, 4), embeddings=COLOURS)
    for names, message in (
        ([], "one or more"),
        (["a", "A"], "more than once"),
        ("sky", "are a list"),
        ([" "], "empty"),
    ):
        with pytest.raises(ValueError, match=message):
            segment(field, names, (4, 4), embeddings=torch.rand(len(names), 3))
    with pytest.raises(ValueError, match="finite vector other than zero"):
        segment(field, NAMES, (4, 4), embeddings=torch.zeros(3, 3))
    with pytest.raises(ValueError, match="only a clip encoder has words; received Colours"):
        segment(field, NAMES, (4, 4))


# ---------------------------------------------------------------------------- vocabularies


def test_a_vocabulary_chooses_by_name(tmp_path: Path) -> None:
    np.save(tmp_path / "bank.npy", (COLOURS * 7).numpy().astype(np.float16))
    bank = Vocabulary.from_file(tmp_path / "bank.npy", NAMES)
    assert torch.allclose(bank.embeddings, COLOURS)
    chosen = bank.select(["Blue", "red"])
    assert chosen.names == ("blue", "red") and torch.equal(chosen.embeddings, COLOURS[[2, 0]])
    with pytest.raises(UnknownNameError, match=r"no class 'grean' among the 3 .*green"):
        bank.select(["grean"])
    with pytest.raises(DataError, match="holds 3 embeddings for 2 names"):
        Vocabulary.from_file(tmp_path / "bank.npy", ["a", "b"])


def test_names_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("sky\n\n# plants\npalm tree  # of the beach\n")
    assert read_names(tmp_path / "names.txt") == ["sky", "palm tree"]
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(DataError, match="holds no class names"):
        read_names(tmp_path / "empty.txt")
    with pytest.raises(DataError, match="there is no file"):
        read_names(tmp_path / "none.txt")


# ---------------------------------------------------------------------------- label maps and mIoU


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


def test_colours_differ() -> None:
    colours = np.array(palette(60), dtype=int)
    distance = np.abs(colours[:, None] - colours[None]).sum(-1) + 1000 * np.eye(60, dtype=int)
    assert distance.min() > 20
    assert palette(3) == palette(60)[:3]  # a class keeps its colour however many there are


def test_paint_mixes_and_draws_seams() -> None:
    labels = torch.zeros(6, 8, dtype=torch.int64)
    labels[:, 4:] = 1
    grey = torch.full((3, 6, 8), 0.5)
    painted, colours = paint(grey, labels, 0.6), torch.tensor(palette(2)) / 255
    assert torch.allclose(painted[:, 0, 0], 0.5 * 0.4 + colours[0] * 0.6, atol=1e-6)
    assert torch.allclose(painted[:, 5, 7], 0.5 * 0.4 + colours[1] * 0.6, atol=1e-6)
    assert bool((painted[:, :, 3] < painted[:, :, 2]).all())


def test_the_legend_lists_what_is_shown() -> None:
    labels = torch.tensor([[0, 0, 0, 2]])
    rows = legend([Panel("", labels), Panel("", torch.full((1, 4), 2))], ["sky", "tree", "sea"])
    assert rows == [(2, "sea  25.0% / 100.0%"), (0, "sky  75.0% / 0.0%"), (None, "nowhere: tree")]
    assert legend([Panel("", labels)], [str(k) for k in range(9)])[-1] == (None, "nowhere: 7 others")


@pytest.mark.parametrize("size", [(16, 24), (400, 300), (40, 700)])
@pytest.mark.parametrize("classes", [1, 3, 60])
def test_overlays_of_any_shape(size: tuple[int, int], classes: int) -> None:
    labels = torch.arange(size[0] * size[1]).reshape(size) * classes // (size[0] * size[1])
    panels = [Panel("raw", labels), Panel("completed", labels)]
    drawn = draw_overlay(torch.rand(3, *size), panels, [f"class number {k}" for k in range(classes)])
    factor = max(1, -(-320 // max(size)))
    assert drawn.size[0] >= size[0] * factor and drawn.size[1] > 2 * size[1] * factor
    assert drawn.pixels.shape[2] == 3 and drawn.pixels.std() > 10

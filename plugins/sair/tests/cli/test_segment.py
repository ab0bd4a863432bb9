"""``implicitkit segment`` as a stranger uses it: real files, bad input of every kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from painters import disc, picture
from safetensors.torch import save_file
from semantics import saved_semantics
from tiny_clip import VIT, build

import implicitkit as ik
from implicitkit.images.io import read_picture
from implicitkit_sair.segmentation.label_maps import read_label_map
from implicitkit_sair.segmentation.labelling import segment


@pytest.fixture(scope="module")
def semantics(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A semantic model, and a bank of embeddings for three classes."""
    folder = tmp_path_factory.mktemp("semantics")
    np.save(folder / "bank.npy", torch.randn(3, 6, generator=torch.Generator().manual_seed(0)).numpy())
    (folder / "bank.txt").write_text("sky\ntree\nsea\n")
    return saved_semantics().save(folder / "semantics.safetensors"), folder / "bank.npy"


def test_segment_writes_what_python_says(run, semantics: tuple[Path, Path], tmp_path: Path) -> None:
    ik.write_image(tmp_path / "a.png", picture(20, 24))
    ik.write_image(tmp_path / "hole.png", disc(20, 24))
    model, bank = semantics
    call = ("segment", tmp_path / "a.png", "-o", tmp_path / "o.png", "--model", model, "--embeddings", bank)
    call = (*call, "--classes", "sky, tree, sea", "--mask", tmp_path / "hole.png", "--size", "40x33", "--stage", "both")
    done = run(*call, "--labels", tmp_path / "l.png", "--scores", tmp_path / "s.npy")
    assert done.code == 0, done.err
    assert "40×33: sky " in done.out and ", tree " in done.out
    seen = torch.where(disc(20, 24) > 0.5, 0.5, ik.read_image(tmp_path / "a.png"))
    field = saved_semantics().encode(seen, disc(20, 24))
    labels, scores = segment(field, ["a", "b", "c"], (33, 40), embeddings=torch.from_numpy(np.load(bank)))
    assert torch.equal(read_label_map(tmp_path / "l.png", 3), labels)
    assert np.abs(np.load(tmp_path / "s.npy") - scores.numpy()).max() < 1e-6
    assert min(read_picture(tmp_path / "o.png").size) > 250  # small results are enlarged for the legend's sake
    refused = run(*call)
    assert refused.code == 2 and refused.errors == [f"error: {tmp_path / 'o.png'} exists; pass --force to overwrite it"]
    assert run(*call, "--force").code == 0


def test_segment_chooses_classes_by_name(run, semantics: tuple[Path, Path], tmp_path: Path) -> None:
    ik.write_image(tmp_path / "a.png", picture(12, 12))
    (tmp_path / "two.txt").write_text("sea\nsky\n")
    model, bank = semantics
    call = ("segment", tmp_path / "a.png", "--model", model, "--embeddings", bank, "--names", bank.with_suffix(".txt"))
    for name, classes in (("x", "Sea,sky"), ("y", tmp_path / "two.txt")):
        done = run(*call, "-o", tmp_path / f"{name}.png", "--classes", classes, "--scores", tmp_path / f"{name}.npy")
        assert done.code == 0, done.err
    x, y = (np.load(tmp_path / f"{name}.npy") for name in "xy")
    expected = segment(
        saved_semantics().encode(ik.read_image(tmp_path / "a.png")),
        ["sea", "sky"],
        (12, 12),
        embeddings=torch.from_numpy(np.load(bank))[[2, 0]],
    )
    assert np.array_equal(x, y) and np.abs(x - expected.scores.numpy()).max() < 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--classes", "sky"], "holds 3 embeddings for 1 names"),
        (["--classes", "sky,sky,sea"], "--classes: class names must differ; received sky more than once"),
        (["--classes", "sky,,sea"], "none of them empty"),
        (["--classes", "no.txt"], "there is no file no.txt"),
        (["--classes", "sky,treee", "--names", "BANK"], "there is no class 'treee' among the 3 that have an embedding"),
        (["--stage", "after"], "--stage is one of completed, raw, both; received 'after'"),
        (["--size", "12"], "--size is WIDTHxHEIGHT"),
        (["--size", "90x12"], "pass --fit (the largest size within it) or --stretch"),
        (["--size", "90x12", "--fit", "--stretch"], "give one of --fit and --stretch"),
        (["--set", "opacitee=1"], "did you mean 'opacity'"),
        (["--opacity", "2"], "--set: opacity"),
        (["--mask", "none.png"], "there is no file none.png"),
        (["--labels", "l.jpg"], "a label map is written as .png or .tif"),
        (["--scores", "s.npz"], "scores are written as .npy"),
        (["--templates", "BANK"], "--templates has no meaning with --embeddings"),
        (["--model", "liif_small"], "gives an embedding"),
        (["--embeddings", "none.npy"], "there is no file none.npy"),
        (["--embeddings", "BANK"], "cannot be read as a .npy array"),
        (["--embeddings", "WIDE"], "6 values per point, the classes' embeddings 5"),
    ],
)
def test_bad_options_of_segment(
    run, semantics: tuple[Path, Path], tmp_path: Path, options: list[str], message: str
) -> None:
    ik.write_image(tmp_path / "a.png", picture(12, 12))
    np.save(tmp_path / "wide.npy", np.ones((3, 5)))
    model, bank = semantics
    stand_ins = {"BANK": str(bank.with_suffix(".txt")), "WIDE": str(tmp_path / "wide.npy")}
    given = {"--model": str(model), "--embeddings": str(bank), "--classes": "sky, tree, sea"}
    given |= {flag: stand_ins.get(value, value) for flag, value in zip(options[::2], options[1::2], strict=True)}
    done = run(
        "segment", tmp_path / "a.png", "-o", tmp_path / "o.png", *(word for pair in given.items() for word in pair)
    )
    assert done.code == 2 and len(done.errors) == 1 and message in done.errors[0], done.err
    assert "Traceback" not in done.err and not (tmp_path / "o.png").exists()


def test_words_need_an_encoder_that_has_them(run, semantics: tuple[Path, Path], tmp_path: Path) -> None:
    ik.write_image(tmp_path / "a.png", picture(12, 12))
    call = ("segment", tmp_path / "a.png", "-o", tmp_path / "o.png", "--model", semantics[0], "--classes", "sky, sea")
    done = run(*call)
    assert done.code == 2 and "pass --embeddings FILE.npy with a row for each class" in done.err
    done = run(*call, "--names", semantics[1].with_suffix(".txt"))
    assert done.code == 2 and "--names says what the rows of --embeddings are called" in done.err


def test_words_through_a_text_tower(run, tmp_path: Path) -> None:
    tower = tmp_path / "tiny.safetensors"
    save_file(build(VIT).state_dict(), tower)
    clip = {"name": "clip", "model": VIT, "pretrained": str(tower), "quick_gelu": False}
    spec = {"encoder": clip, "decoder": {"name": "sir", "reduced": 4, "hidden": [8]}, "inputs": ["image", "mask"]}
    model = ik.create_model(spec).eval()
    model.save(tmp_path / "model.safetensors")
    ik.write_image(tmp_path / "a.png", picture(20, 24))
    (tmp_path / "templates.txt").write_text("a photo of a {}.\nmany {}\n")
    call = ("segment", tmp_path / "a.png", "--model", tmp_path / "model.safetensors", "--classes", "sky, tree")
    done = run(*call, "-o", tmp_path / "o.png", "--text-weights", tower, "--scores", tmp_path / "s.npy")
    assert done.code == 0, done.err
    field = model.encode(ik.read_image(tmp_path / "a.png"))
    expected = segment(field, ["sky", "tree"], (20, 24)).scores
    assert np.abs(np.load(tmp_path / "s.npy") - expected.numpy()).max() < 1e-5
    more = run(*call, "-o", tmp_path / "p.png", "--text-weights", tower, "--templates", tmp_path / "templates.txt")
    assert more.code == 0, more.err
    without = run(*call, "-o", tmp_path / "q.png")  # a saved model holds no text tower
    assert without.code == 2 and len(without.errors) == 1 and "--text-weights" in without.errors[0], without.err

"""``implicitkit edit`` as a stranger uses it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from editing.test_selection import two_reds
from semantics import semantic_model
from small_parts import EDSR, SEMANTIC

import implicitkit as ik
from implicitkit.images.io import read_picture
from implicitkit_sair.editing import selection


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two red squares on blue, an example, embeddings, a SAIR; DINOv2's place is taken by the colours themselves."""
    monkeypatch.setattr(selection, "default_semantics", semantic_model)
    ik.write_image(tmp_path / "a.png", two_reds())
    ik.write_image(tmp_path / "example_mask.png", two_reds()[:1])
    np.save(tmp_path / "bank.npy", torch.eye(3).numpy())
    (tmp_path / "bank.txt").write_text("red\ngreen\nblue\n")
    decoder = {"name": "air", "hidden": [12], "projected": 4}
    spec = {"encoder": EDSR, "decoder": decoder, "conditions": {"semantic": SEMANTIC}, "inputs": ["image", "mask"]}
    ik.create_model(spec).eval().save(tmp_path / "sair.safetensors")
    np.save(tmp_path / "wide.npy", torch.eye(8)[:3].numpy())
    return tmp_path


def test_a_point_an_example_and_classes_select_the_same(run, place: Path) -> None:
    bank = ("--embeddings", place / "bank.npy", "--names", place / "bank.txt")
    asked = {
        "like": ("--like", "10,10", "--like", "50,40"),
        "example": ("--example", place / "a.png", place / "example_mask.png"),
        "classes": ("--classes", "Red", *bank),
    }
    for name, how in asked.items():
        call = ("edit", place / "a.png", "-o", place / f"{name}.png", *how, "--model", "harmonic", "--feather", "0")
        done = run(*call, "--set", f"mask={place / name}_filled.png")
        assert done.code == 0, done.err
        assert "filled by harmonic" in done.out
        found, mask = ik.read_image(place / f"{name}.png"), ik.read_image(place / f"{name}_filled.png")[0]
        assert found[0, 4:20, 4:20].max() < 0.1 and found[0, 28:44, 40:56].max() < 0.1, name
        kept = mask.numpy() < 0.5
        same = read_picture(place / f"{name}.png").pixels == read_picture(place / "a.png").pixels
        assert same[kept].all() and 0.2 < mask.mean() < 0.6
    again = run(*call)
    assert again.code == 2 and again.errors == [f"error: {place / 'classes.png'} exists; pass --force to overwrite it"]


def test_another_pictures_meaning_and_a_classs_fill(run, place: Path) -> None:
    ik.write_image(place / "other.png", torch.rand(3, 30, 40))
    call = ("edit", place / "a.png", "--like", "10,10", "--model", place / "sair.safetensors")
    assert run(*call, "-o", place / "own.png").code == 0
    for name, how in (
        ("as", ("--as", place / "other.png")),
        ("to", ("--to", "green", "--embeddings", place / "wide.npy", "--names", place / "bank.txt")),
    ):
        done = run(*call, "-o", place / f"{name}.png", *how)
        assert done.code == 0, done.err
        assert not torch.equal(ik.read_image(place / f"{name}.png"), ik.read_image(place / "own.png"))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ((), "say what to select with one of --like X,Y, --example PICTURE MASK and --classes NAMES"),
        (("--like", "1,1", "--classes", "sky"), "say what to select with one of"),
        (("--like", "here"), "--like takes X,Y in pixels, such as 120,80; received 'here'"),
        (("--like", "99,1"), "the point 99,1 lies outside of the picture, which has 64×48 pixels"),
        (("--like", "1,1", "--threshold", "3"), "nothing is selected: "),
        (("--like", "1,1", "--threshold", "-3"), "everything is selected: "),
        (("--like", "1,1", "--grow", "99"), "the selection, grown by 99 pixels, is everything"),
        (("--like", "1,1", "--as", "a.png", "--to", "x"), "give one of --as and --to"),
        (("--like", "1,1", "--as", "no.png"), "there is no file"),
        (("--like", "1,1", "--as", "example_mask.png", "--model", "harmonic"), "harmonic learnt nothing and reads"),
        (("--like", "1,1", "--as", "example_mask.png", "--model", "liif_small_faces"), "reads no semantic field"),
        (
            ("--like", "1,1", "--to", "red", "--embeddings", "bank.npy", "--names", "bank.txt"),
            "has 3 values .* reads 8",
        ),
        (
            ("--like", "1,1", "--semantics", "liif_small"),
            "meaning is read from a model whose decoder gives an embedding",
        ),
        (("--classes", "red"), "only a clip encoder has words"),
        (("--like", "1,1", "--model", "liif_small"), "takes no mask"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    run, place: Path, how: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    sair = () if "--model" in how else ("--model", "sair.safetensors")
    grow = () if "--grow" in how else ("--grow", "0")  # more would select all of so small a picture
    done = run("edit", "a.png", "-o", "out.png", *how, *sair, *grow)
    assert done.code == 2 and len(done.errors) == 1, done.err

    assert re.search(message, done.errors[0]), done.errors
    assert not (place / "out.png").exists()

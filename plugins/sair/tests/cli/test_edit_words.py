"""edit by words, with a whole CLIP of random weights in a file: what is said to be a class is what open_clip says."""

from __future__ import annotations

import re
from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from small_parts import EDSR
from tiny_clip import VIT, build

import implicitkit as ik
from implicitkit_sair.editing.selection import without_islands
from implicitkit_sair.semantic.clip.templates import named_templates

WORDS, OTHERS = ["grass", "lake"], ["sky", "tree", "sea"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of four tiles, a CLIP, a semantic model on it and a SAIR that reads it."""
    folder = tmp_path_factory.mktemp("words")
    save_file(build(VIT).state_dict(), folder / "clip.safetensors")
    clip = {"name": "clip", "model": VIT, "pretrained": str(folder / "clip.safetensors"), "quick_gelu": False}
    torch.manual_seed(5)
    ik.create_model({"encoder": clip, "decoder": {"name": "bilinear", "project": False}}).save(
        folder / "sem.safetensors"
    )
    semantic = {"encoder": clip, "decoder": {"name": "sir", "hidden": [8], "residual": "bilinear"}}
    spec = {
        "encoder": EDSR,
        "decoder": {"name": "air", "hidden": [12], "projected": 4},
        "conditions": {"semantic": {**semantic, "inputs": ["image", "mask"]}},
        "inputs": ["image", "mask"],
    }
    ik.create_model(spec).eval().save(folder / "sair.safetensors")
    ik.write_image(folder / "a.png", torch.rand(3, 4, 4).repeat_interleave(8, 1).repeat_interleave(8, 2))
    (folder / "two.txt").write_text("a {}.\nno {} here\n")
    return folder


def by_open_clip(words: list[str], templates: list[str]) -> torch.Tensor:
    """The embeddings ``(words, D)`` of words, from open_clip's own model."""
    model = build(VIT)
    with torch.no_grad():
        said = [model.encode_text(open_clip.tokenize([t.format(w) for t in templates]), normalize=True) for w in words]
    return F.normalize(torch.stack([rows.mean(0) for rows in said]), dim=1)


@pytest.mark.parametrize("templates", [None, "two.txt", "clip", "maskclip"])
def test_words_select_what_open_clips_text_tower_says(run, place: Path, tmp_path: Path, templates: str | None) -> None:
    picture = ik.read_image(place / "a.png")
    sentences = {None: ["a photo of a {}."], "two.txt": ["a {}.", "no {} here"]}.get(templates)
    rows = by_open_clip([*WORDS, *OTHERS], sentences or list(named_templates(str(templates)) or ()))
    field = ik.load_model(place / "sem.safetensors").encode(picture)
    cosines = torch.einsum("dhw,kd->khw", F.normalize(field.render((32, 32)), dim=0), rows)
    gap = cosines[:2].amax(0) - cosines[2:].amax(0)
    threshold = float(gap.median())

    call = ("edit", place / "a.png", "-o", tmp_path / "b.png", "--classes", "Grass, lake", "--against")
    call += (", ".join(OTHERS), "--semantics", place / "sem.safetensors", "--text-weights", place / "clip.safetensors")
    if templates:
        call += ("--templates", place / templates if templates == "two.txt" else templates)
    call += ("--grow", "0", "--refine", "false", "--mask", tmp_path / "m.png", "--model", "harmonic")
    done = run(*call, "--threshold", f"{threshold:.8f}")
    assert done.code == 0, done.err
    found, expected = ik.read_image(tmp_path / "m.png")[0] > 0.5, without_islands(gap > threshold)
    assert (found == expected).float().mean() > 0.97  # all but ties


def test_what_a_word_means_is_what_is_painted(run, place: Path, tmp_path: Path) -> None:
    call = ("edit", place / "a.png", "--example", place / "a.png", tmp_path / "mask.png", "--semantics")
    call += (place / "sem.safetensors", "--model", place / "sair.safetensors", "--grow", "0", "--threshold", "0")
    mask = torch.zeros(1, 32, 32)
    mask[:, 8:24, 8:24] = 1
    ik.write_image(tmp_path / "mask.png", mask)
    words = ("--text-weights", place / "clip.safetensors")
    assert run(*call, "-o", tmp_path / "own.png").code == 0
    for word in ("grass", "sea"):
        done = run(*call, "-o", tmp_path / f"{word}.png", "--to", word, *words)
        assert done.code == 0, done.err
    own, grass, sea = (ik.read_image(tmp_path / f"{name}.png") for name in ("own", "grass", "sea"))
    assert not torch.equal(grass, sea) and not torch.equal(grass, own)
    done = run(*call, "-o", tmp_path / "again.png", "--to", "GRASS", *words)
    assert done.code == 0


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            ("--classes", "sky", "--semantics", "sem.safetensors"),
            r"its text tower is not at hand; pass weights=.*pass --text-weights, or --embeddings FILE\.npy",
        ),
        (
            ("--like", "9,9", "--semantics", "sem.safetensors", "--to", "grass", "--model", "sair.safetensors"),
            "its text tower is not at hand",
        ),
        (("--classes", "sky", "--semantics", "sem.safetensors", "--text-weights", "none.pt"), "none.pt"),
        (
            ("--classes", "sky", "--semantics", "sem.safetensors", "--text-weights", "sair.safetensors"),
            r"does not fit .* and \d+ more",
        ),
        (("--classes", ",", "--semantics", "sem.safetensors"), "--classes: class names are one or more"),
        (
            ("--classes", "sky", "--templates", "two", "--semantics", "sem.safetensors"),
            "two",
        ),
        (("--like", "9,9", "--semantics", "sem.safetensors", "--to", "grass"), "only a clip encoder has words"),
    ],
)
def test_without_a_text_tower_it_says_what_is_missing_in_one_line(
    run, place: Path, how: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    done = run("edit", "a.png", "-o", "out.png", *how)
    assert done.code == 2 and len(done.errors) == 1, done.err
    assert re.search(message, done.errors[0]), done.errors
    assert len(done.errors[0]) < 600 and not (place / "out.png").exists()

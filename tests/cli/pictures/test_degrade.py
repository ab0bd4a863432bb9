"""The degrade command: what it writes, how it replays, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import implicitkit as ik
from implicitkit.images.io import Picture, read_picture, write_picture
from oracles import PHOTOS

SPECS: list[Any] = [
    {"name": "inpainting", "ratio": [0.2, 0.3], "fill": "noise"},
    {"name": "noise", "kind": ["gaussian", "poisson"], "sigma": [5, 50]},
    ["blur", {"name": "super_resolution", "scale": [1.5, 3]}, {"name": "noise", "sigma": 5}, "jpeg"],
    "inpainting",
]


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    ik.write_image(tmp_path / "cat.png", ik.read_image(PHOTOS / "chelsea.png")[:, 60:101, 100:150])
    return tmp_path / "cat.png"


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_picture_mask_and_record_are_those_of_the_library(run, cat: Path, tmp_path: Path, spec: Any) -> None:
    out = tmp_path / "out.png"
    text = spec if isinstance(spec, str) else json.dumps(spec)
    done = run("degrade", cat, "-o", out, "--spec", text, "--seed", "3", "--reference")
    assert done.code == 0, done.err
    written = json.loads((tmp_path / "out_record.json").read_text())
    clean = ik.read_image(cat)
    seen = ik.create_degradation(written["spec"]).apply(clean, written["record"])
    assert torch.equal(ik.read_image(out), (seen.image * 255).round() / 255)
    mask = read_picture(tmp_path / "out_mask.png")
    assert mask.is_grey and torch.equal(mask.colour(), seen.mask)
    assert torch.equal(ik.read_image(tmp_path / "out_reference.png"), seen.reference)
    assert ("missing" in done.out) == bool(seen.mask.any())


@pytest.mark.parametrize("spec", SPECS[:3], ids=str)
def test_a_written_record_replays_to_the_same_bytes(run, cat: Path, tmp_path: Path, spec: Any) -> None:
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(spec))
    run("degrade", cat, "-o", tmp_path / "a.png", "--spec", file)
    done = run("degrade", cat, "-o", tmp_path / "b.png", "--record", tmp_path / "a_record.json")
    assert done.code == 0, done.err
    for ending in (".png", "_mask.png", "_record.json"):
        assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()
    assert not (tmp_path / "a_reference.png").exists()
    run("degrade", cat, "-o", tmp_path / "c.png", "--spec", file, "--seed", "1")
    assert (tmp_path / "c_record.json").read_bytes() != (tmp_path / "a_record.json").read_bytes()


def test_specs_as_yaml_text_and_file(run, cat: Path, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("- blur\n- name: jpeg\n  quality: 1e1\n")
    for k, spec in enumerate(("{name: blur, sigma: 1}", "name: blur", "[blur, jpeg]", tmp_path / "s.yaml", "JPEG")):
        done = run("degrade", cat, "-o", tmp_path / f"{k}.png", "--spec", spec)
        assert done.code == 0, done.err
    assert "gaussian blur then jpeg" in run("degrade", cat, "-o", tmp_path / "x.png", "--spec", "[blur, jpeg]").out
    assert json.loads((tmp_path / "3_record.json").read_text())["spec"][1] == {"name": "jpeg", "quality": 10.0}


def test_a_folder_becomes_a_folder_and_each_picture_draws_on_its_own(run, cat: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name in ("a.png", "b.tif"):
        ik.write_image(source / name, ik.read_image(cat))
    done = run("degrade", source, cat, "-o", tmp_path / "out", "--spec", "inpainting")
    assert done.code == 0, done.err
    names = {p.name for p in (tmp_path / "out").glob("[!.]*")}
    assert names == {f"{stem}{end}" for stem in ("a", "b", "cat") for end in (".png", "_mask.png", "_record.json")}
    records = [(tmp_path / "out" / f"{stem}_record.json").read_text() for stem in ("a", "b", "cat")]
    assert len(set(records)) == 3


def test_grey_16_bits_and_profile_are_kept_and_alpha_is_left_out(run, tmp_path: Path) -> None:
    deep = Picture(np.arange(600, dtype=np.uint16).reshape(20, 30, 1) * 100, icc=b"profile")
    write_picture(tmp_path / "deep.png", deep)
    run(
        "degrade",
        tmp_path / "deep.png",
        "-o",
        tmp_path / "o.png",
        "--spec",
        "{name: inpainting, kind: half, sides: top}",
    )
    out = read_picture(tmp_path / "o.png")
    assert out.is_grey and out.bits == 16 and out.icc == b"profile"
    assert np.array_equal(out.pixels[10:], deep.pixels[10:]) and (out.pixels[:10] == 32768).all()
    pixels = np.full((8, 9, 3), 100, dtype=np.uint8)
    write_picture(tmp_path / "clear.png", Picture(pixels, np.zeros((8, 9), dtype=np.uint8)))
    assert run("degrade", tmp_path / "clear.png", "-o", tmp_path / "p.jpg", "--spec", "jpeg").code == 0
    assert read_picture(tmp_path / "p.jpg").alpha is None


def test_nothing_is_overwritten_without_force(run, cat: Path, tmp_path: Path) -> None:
    for name in ("o.png", "o_mask.png", "o_record.json", "o_reference.png"):
        kept = tmp_path / name
        kept.write_text("mine")
        done = run("degrade", cat, "-o", tmp_path / "o.png", "--spec", "noise", "--reference")
        assert done.code == 2 and done.errors == [f"error: {kept} exists; pass --force to overwrite it"]
        assert kept.read_text() == "mine" and len(list(tmp_path.glob("o*"))) == 1
        kept.unlink()
    assert run("degrade", cat, "-o", tmp_path / "o.png", "--spec", "noise").code == 0
    assert run("degrade", cat, "-o", tmp_path / "o.png", "--spec", "blur", "--force").code == 0
    before = cat.read_bytes()
    assert "is the input itself" in run("degrade", cat, "-o", cat, "--spec", "noise", "--force").err
    assert "is the input itself" in run("degrade", cat, "-o", tmp_path, "--spec", "noise", "--force").err
    assert cat.read_bytes() == before


def test_when_one_file_cannot_be_written_none_is(
    run, cat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    (tmp_path / "out").mkdir()
    done = run("degrade", cat, "-o", tmp_path / "out" / "x.png", "--spec", "noise")
    assert done.code == 2 and "No space left" in done.errors[0]
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--spec", "nose"], "did you mean 'noise'"),
        (["--spec", "{name: noise, sigm: 3}"], "--spec: degradation 'noise' takes no 'sigm'; did you mean 'sigma'"),
        (["--spec", "{name: noise, sigma: -3}"], "received -3"),
        (["--spec", "{name: noise, sigma: lots}"], "--spec: degradation 'noise', sigma"),
        (["--spec", "{name: noise"], "--spec, line 1, column 13 is not YAML that can be used"),
        (["--spec", "3"], "received '3'"),
        (["--spec", "[]"], "at least one degradation"),
        (["--spec", "[3]"], "received 3"),
        (["--spec", "missing.yaml"], "there is no file missing.yaml"),
        (["--spec", "{name: super_resolution, scale: 200}"], "has nothing left at scale"),
        ([], "give either --spec, to draw, or --record, to replay"),
        (["--spec", "noise", "--record", "r.json"], "give either --spec"),
        (["--record", "missing.json"], "there is no file missing.json"),
        (["--spec", "noise", "--seed", "-1"], "--seed"),
    ],
)
def test_mistakes_are_one_line(run, cat: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    done = run("degrade", cat, "-o", tmp_path / "out.png", *arguments)
    assert done.code == 2 and len(done.errors) == 1
    assert message in done.errors[0] and len(done.err.splitlines()) == 1
    assert not list(tmp_path.glob("out*"))


def test_records_that_are_none_are_named(run, cat: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "r.json", tmp_path / "out.png"
    for text, message in (
        ("{", "r.json is not a record"),
        ("[1]", "holds no spec and record"),
        ('{"spec": {"name": "noise"}, "record": {}}', "the record does not fit its spec (KeyError: 'kind')"),
        ('{"spec": ["noise", "blur"], "record": {"name": "noise"}}', "a chain of 2 takes a record with as many steps"),
        ('{"spec": {"name": "noise"}, "record": {"kind": "pink"}}', "the record has 'pink'"),
        ('{"spec": {"name": "nose"}, "record": {}}', "r.json: unknown degradation 'nose'"),
    ):
        file.write_text(text)
        done = run("degrade", cat, "-o", out, "--record", file)
        assert done.code == 2 and message in done.errors[0], done.err
        assert not out.exists()


def test_inputs_that_cannot_be_told_apart_or_read(run, cat: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    assert "holds no pictures" in run("degrade", source, "-o", tmp_path / "out", "--spec", "noise").errors[0]
    assert "there is no file" in run("degrade", tmp_path / "x.png", "-o", tmp_path / "out", "--spec", "noise").errors[0]
    for name in ("a.png", "a.tif"):
        ik.write_image(source / name, ik.read_image(cat))
    assert "would both become" in run("degrade", source, "-o", tmp_path / "out", "--spec", "noise").errors[0]
    assert "name a folder" in run("degrade", source, "-o", tmp_path / "x.png", "--spec", "noise").errors[0]
    assert "is the folder of the inputs" in run("degrade", source, "-o", source, "--spec", "noise").errors[0]
    (source / "a.tif").rename(source / "a_mask.tif")
    assert "would both become" in run("degrade", source, "-o", tmp_path / "out", "--spec", "noise").errors[0]
    (source / "a_mask.tif").write_bytes(b"not a picture")
    (source / "a_mask.tif").rename(source / "b.png")
    done = run("degrade", source, "-o", tmp_path / "out", "--spec", "noise")
    *_, failure, error = done.err.splitlines()
    assert done.code == 2 and error == "error: 1 of 2 pictures failed"
    assert failure.startswith(f"failed: {source / 'b.png'} is a text file")
    assert (tmp_path / "out" / "a.png").exists() and not (tmp_path / "out" / "b.png").exists()


def test_a_record_of_a_folders_mask_replays_from_elsewhere(
    run, cat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "masks").mkdir()
    assert run("degrade", cat, "-o", tmp_path / "a.png", "--spec", "{name: inpainting, kind: boxes}").code == 0
    (tmp_path / "a_mask.png").rename(tmp_path / "masks" / "m.png")
    monkeypatch.chdir(tmp_path)
    spec = "{name: inpainting, kind: folder, folder: masks}"
    assert run("degrade", cat, "-o", tmp_path / "b.png", "--spec", spec).code == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run("degrade", cat, "-o", tmp_path / "c.png", "--record", tmp_path / "b_record.json").code == 0
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "c.png").read_bytes()

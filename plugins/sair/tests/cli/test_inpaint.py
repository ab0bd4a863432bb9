"""``implicitkit inpaint`` as a stranger uses it: real files, bad input of every kind."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from painters import disc, picture, small_painter
from PIL import Image

import implicitkit as ik
import implicitkit_sair
from implicitkit.files import LOCK
from implicitkit.images.io import Picture, read_picture, to_pixels, write_picture
from implicitkit_sair.inpainting.painting import inpaint


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_painter().save(tmp_path_factory.mktemp("weights") / "painter.safetensors")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    ik.write_image(tmp_path / "a.png", picture(20, 24))
    ik.write_image(tmp_path / "hole.png", disc(20, 24))
    return tmp_path / "a.png", tmp_path / "hole.png"


def test_inpaint_a_file(run, pair: tuple[Path, Path], painter: Path, tmp_path: Path) -> None:
    done = run("inpaint", *pair, "-o", tmp_path / "out.png", "--model", painter, "--precision", "float32")
    assert done.code == 0, done.err
    assert "24×20" in done.out and "missing" in done.out
    expected = inpaint(small_painter(), ik.read_image(pair[0]), disc(20, 24))
    assert (ik.read_image(tmp_path / "out.png") - expected).abs().max() <= 0.5 / 255 + 1e-6
    raw = run("inpaint", *pair, "-o", tmp_path / "raw.png", "--model", painter, "--raw", "--passes", 2)
    assert raw.code == 0, raw.err
    assert not torch.equal(ik.read_image(tmp_path / "raw.png"), ik.read_image(tmp_path / "out.png"))


def test_solvers_are_models_too_and_one_mask_does_for_a_folder(run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for k in range(2):
        ik.write_image(tmp_path / "in" / f"{k}.png", picture(18, 20) * (1 - 0.3 * k))
    ik.write_image(tmp_path / "mask.png", disc(18, 20))
    call = ("inpaint", tmp_path / "in", tmp_path / "mask.png", "-o", tmp_path / "out", "--model", "biharmonic")
    done = run(*call, "--dilate", 1)
    assert done.code == 0, done.err
    for k in range(2):
        expected = inpaint("biharmonic", picture(18, 20) * (1 - 0.3 * k), disc(18, 20), dilate=1)
        assert (ik.read_image(tmp_path / "out" / f"{k}.png") - expected).abs().max() < 0.01
    refused = run(*call, "--raw", "--force")
    assert refused.code == 2 and refused.errors == [
        "error: --raw shows the whole output of a model; biharmonic has none"
    ]


def test_the_line_counts_what_was_grown_and_names_what_stays_transparent(run, tmp_path: Path) -> None:
    pixels, hole = to_pixels(picture(20, 24)), disc(20, 24)
    alpha = np.where(hole[0].numpy() > 0.5, 0, 255).astype(np.uint8)
    write_picture(tmp_path / "a.png", Picture(pixels, alpha))
    ik.write_image(tmp_path / "hole.png", hole)
    done = run("inpaint", tmp_path / "a.png", tmp_path / "hole.png", "-o", tmp_path / "b.png", "--model", "harmonic")
    missing = float(hole.mean())
    assert done.code == 0 and f"{missing:.1%} missing" in done.out, done.err
    assert "(cpu; 100.0% of the hole is transparent in the picture, and stays so)" in done.out
    grown = run(
        *("inpaint", tmp_path / "a.png", tmp_path / "hole.png", "-o", tmp_path / "c.png", "--model", "harmonic"),
        *("--dilate", 1, "--margins", "1,0,0,0"),
    )
    assert grown.code == 0, grown.err
    assert float(grown.out.partition("%")[0].rpartition(" ")[2]) > 100 * missing


def test_known_pixels_survive_webp_and_jpeg_is_said_to_change_them(
    run, pair: tuple[Path, Path], painter: Path, tmp_path: Path
) -> None:
    assert run("inpaint", *pair, "-o", tmp_path / "out.webp", "--model", painter).code == 0
    before, after, mask = (read_picture(path).pixels for path in (pair[0], tmp_path / "out.webp", pair[1]))
    known = mask[..., 0] < 128
    assert np.array_equal(before[known], after[known])
    done = run("inpaint", *pair, "-o", tmp_path / "out.jpg", "--model", painter)
    assert done.code == 0 and "JPEG changes known pixels" in done.out


def test_the_polarity_is_what_was_said(run, pair: tuple[Path, Path], painter: Path, tmp_path: Path) -> None:
    ik.write_image(tmp_path / "inverse.png", 1 - disc(20, 24))
    for name, options in (("white.png", [pair[1]]), ("black.png", [tmp_path / "inverse.png", "--hole", "black"])):
        assert run("inpaint", pair[0], *options, "-o", tmp_path / name, "--model", painter).code == 0
    assert (tmp_path / "white.png").read_bytes() == (tmp_path / "black.png").read_bytes()


def test_a_folder_and_the_masks_that_degrade_wrote(run, painter: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.jpg"):
        ik.write_image(tmp_path / "in" / name, picture(18, 20))
    spec = "{name: inpainting, kind: strokes, ratio: 0.3}"
    assert run("degrade", tmp_path / "in", "-o", tmp_path / "holes", "--spec", spec, "--reference").code == 0
    done = run("inpaint", tmp_path / "holes", tmp_path / "holes", "-o", tmp_path / "out", "--model", painter)
    assert done.code == 0, done.err
    assert sorted(p.name for p in (tmp_path / "out").glob("[!.]*")) == ["a.png", "b.png"]
    known = read_picture(tmp_path / "holes" / "a_mask.png").pixels[..., 0] < 128
    before, after = (read_picture(tmp_path / where / "a.png").pixels for where in ("holes", "out"))
    assert np.array_equal(before[known], after[known]) and not np.array_equal(before, after)


def test_one_bad_pair_does_not_stop_a_folder(run, painter: Path, tmp_path: Path) -> None:
    for folder in ("in", "masks"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b", "c"):
        ik.write_image(tmp_path / "in" / f"{name}.png", picture(9, 9))
        ik.write_image(tmp_path / "masks" / f"{name}.png", disc(9, 9) if name != "b" else torch.zeros(1, 9, 9))
    done = run("inpaint", tmp_path / "in", tmp_path / "masks", "-o", tmp_path / "out", "--model", painter)
    assert done.code == 2 and done.errors == ["error: 1 of 3 pictures failed"]
    assert "b.png has no hole" in done.err
    assert sorted(p.name for p in (tmp_path / "out").glob("[!.]*")) == ["a.png", "c.png"]


def test_masks_are_found_by_name_or_asked_for(run, painter: Path, tmp_path: Path) -> None:
    for folder in ("in", "masks"):
        (tmp_path / folder).mkdir()
    ik.write_image(tmp_path / "in" / "a.png", picture(9, 9))
    call = ("inpaint", tmp_path / "in", tmp_path / "masks", "-o", tmp_path / "out", "--model", painter)
    done = run(*call)
    assert (
        done.code == 2 and f"a.png needs one mask in {tmp_path / 'masks'}, called a_mask or a; found none" in done.err
    )
    for name in ("a.png", "a_mask.png"):
        ik.write_image(tmp_path / "masks" / name, disc(9, 9))
    assert "found a.png, a_mask.png" in run(*call).err
    (tmp_path / "masks" / "a.png").unlink()
    assert run(*call).code == 0
    again = run("inpaint", tmp_path / "in" / "a.png", tmp_path / "masks", "-o", tmp_path / "x.png", "--model", painter)
    assert again.code == 0 and (tmp_path / "x.png").read_bytes() == (tmp_path / "out" / "a.png").read_bytes()


def test_nothing_is_overwritten(run, pair: tuple[Path, Path], painter: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    target.write_bytes(b"precious")
    refused = run("inpaint", *pair, "-o", target, "--model", painter)
    assert refused.code == 2 and refused.errors == [f"error: {target} exists; pass --force to overwrite it"]
    assert target.read_bytes() == b"precious"
    assert run("inpaint", *pair, "-o", target, "--model", painter, "--force").code == 0
    for eaten, message in zip(pair, ("is the input itself", "is a mask"), strict=True):
        done = run("inpaint", *pair, "-o", eaten, "--model", painter, "--force")
        assert done.code == 2 and message in done.err


def test_a_model_that_comes_with_the_package_is_the_default(
    pair: tuple[Path, Path], painter: Path, tmp_path: Path
) -> None:
    """In a copy of the package that has one: known by name, and inpaint needs no --model."""
    installed = tmp_path / "installed"
    shutil.copytree(
        Path(implicitkit_sair.__file__).parent,
        installed / "implicitkit_sair",
        ignore=shutil.ignore_patterns("weights", "__pycache__"),
    )
    (installed / "implicitkit_sair" / "weights").mkdir()
    shutil.copy(painter, installed / "implicitkit_sair" / "weights" / "sair_faces.safetensors")
    core = Path(ik.__file__).parents[1]  # the one that is being tested
    environment = {**os.environ, "PYTHONPATH": f"{installed}{os.pathsep}{core}"}
    code = (
        "import implicitkit as ik; print(ik.list_models(pretrained=True));"
        "a = ik.create_model('sair_faces', pretrained=True); b = ik.create_model('sair_faces');"
        "print(a.spec == b.spec, a.training)"
    )
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert asked.stdout == "['fast', 'fast_real', 'liif_small', 'sair_faces']\nTrue False\n", asked.stderr
    call = [sys.executable, "-m", "implicitkit", "inpaint", *pair, "-o", tmp_path / "out.png", "--precision", "float32"]
    done = subprocess.run(call, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "harmonic" in done.stdout and "held-out copies" in done.stdout  # random weights
    chosen = done.stdout.partition("; ")[2].partition(": ")[0]
    shares = {name: float(share or 100) / 100 for share, name in re.findall(r"(?:(\d+)% )?(\w+)", chosen)}
    answers = {name: inpaint(name, ik.read_image(pair[0]), disc(20, 24)) for name in shares if name != "sair_faces"}
    answers["sair_faces"] = inpaint(ik.load_model(painter), ik.read_image(pair[0]), disc(20, 24))
    expected = torch.stack([share * answers[name] for name, share in shares.items()]).sum(0)
    assert (ik.read_image(tmp_path / "out.png") - expected).abs().max() <= 0.03  # shares are rounded in the line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "sair_small"], "sair_small comes without weights; train it with `implicitkit train sair_small_"),
        (["--model", "no/such.safetensors"], "there is no file no/such.safetensors"),
        (["--model", "liif_small"], "liif_small takes no mask"),
        (["--model", "sair_smal"], "did you mean 'sair_small'"),
        (["--hole", "grey"], "white or black; received 'grey'"),
        (["--threshold", "1.5"], "a threshold is at least 0 and less than 1; received 1.5"),
        (["--fill", "median"], "--fill is a number from 0 to 1, mean, noise, harmonic, biharmonic; received 'median'"),
        (["--fill", "2"], "--fill is a number from 0 to 1"),
        (["--passes", "0"], "--passes"),
        (["--device", "tpu9"], "the device 'tpu9' cannot be used"),
        (["--colour", "3"], "No such option"),
        (["--dilat", "2"], "--dilate"),
        (["--dilate", "99"], "hole.png is all hole once it is grown by 99 pixels, so nothing is known"),
        (["--margins", "3"], "give four numbers of pixels, [LEFT, TOP, RIGHT, BOTTOM]"),
    ],
)
def test_bad_options_of_inpaint(
    run, pair: tuple[Path, Path], painter: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    model = ["--model", painter] if options and "--model" not in options else []
    done = run("inpaint", *pair, "-o", tmp_path / "out.png", *model, *options)
    assert done.code == 2 and len(done.errors) == 1 and message in done.errors[0], done.err
    assert "Traceback" not in done.err and not (tmp_path / "out.png").exists()


def test_without_a_model_it_asks_for_one(
    run, pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("implicitkit_sair.models.SHIPPED", {})
    done = run("inpaint", *pair, "-o", tmp_path / "out.png")
    assert done.code == 2 and len(done.errors) == 1
    assert "pass --model, a weight file that was trained to inpaint" in done.errors[0]
    assert not (tmp_path / "out.png").exists()


def test_bad_files_of_inpaint(run, pair: tuple[Path, Path], painter: Path, tmp_path: Path) -> None:
    ik.write_image(tmp_path / "small.png", disc(19, 24))
    ik.write_image(tmp_path / "none.png", torch.zeros(1, 20, 24))
    ik.write_image(tmp_path / "all.png", torch.ones(1, 20, 24))
    write_picture(
        tmp_path / "alpha.png",
        Picture(np.eye(20, 24, dtype=np.uint8)[..., None] * 255, np.eye(20, 24, k=3, dtype=np.uint8)),
    )
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty").mkdir()
    for mask, message in (
        ("small.png", f"the mask {tmp_path / 'small.png'} has 24×19 pixels, the picture 24×20"),
        ("none.png", "has no hole, so there is nothing to fill"),
        ("all.png", "is all hole, so nothing is known"),
        ("alpha.png", "is a mask with colours and transparency"),
        ("text.png", "is a text file"),
        ("absent.png", "there is no file"),
        ("empty", "a.png needs one mask"),
    ):
        done = run("inpaint", pair[0], tmp_path / mask, "-o", tmp_path / "out.png", "--model", painter)
        assert done.code == 2 and len(done.errors) == 1 and message in done.errors[0], done.err
    for image, message in (
        ("absent.png", "there is no file"),
        ("text.png", "is a text file"),
        ("empty", "no pictures"),
    ):
        done = run("inpaint", tmp_path / image, pair[1], "-o", tmp_path / "out.png", "--model", painter)
        assert done.code == 2 and len(done.errors) == 1 and message in done.errors[0], done.err
    done = run("inpaint", tmp_path, pair[1], "-o", tmp_path / "out.png", "--model", painter)
    assert done.code == 2 and "cannot become the one file" in done.err
    assert run("inpaint", *pair, "-o", tmp_path / "out.gif", "--model", painter).code == 2
    assert not (tmp_path / "out.png").exists()


# ---------------------------------------------------------------------------- segment


def test_folders_in_a_folder_with_their_masks_and_what_is_done_already(run, tmp_path: Path) -> None:
    for place in ("in", "in/sub", "masks/sub"):
        (tmp_path / place).mkdir(parents=True)
    for name, hole in (("a", disc(18, 20)), ("sub/a", disc(18, 20).roll(3, -1))):
        ik.write_image(tmp_path / "in" / f"{name}.png", picture(18, 20))
        ik.write_image(tmp_path / "masks" / f"{name}.png", hole)
    call = ("inpaint", tmp_path / "in", tmp_path / "masks", "-o", tmp_path / "out", "--model", "harmonic", "-r")
    done = run(*call, "--format", "webp", "--name", "{name}-{model}")
    assert done.code == 0, done.err
    first, second = tmp_path / "out" / "a-harmonic.webp", tmp_path / "out" / "sub" / "a-harmonic.webp"
    assert not torch.equal(ik.read_image(first), ik.read_image(second))  # each has its own hole
    second.unlink()
    again = run(*call, "--format", "webp", "--name", "{name}-{model}", "--skip-existing")
    assert again.code == 0 and again.out.count("->") == 1 and "1 was there already" in again.err
    lossy = run(*call, "--format", "webp", "--quality", "10")
    assert lossy.code == 0
    assert (tmp_path / "out" / "a.webp").stat().st_size < first.stat().st_size


def test_a_second_run_into_the_same_folder_is_refused(run, pair: tuple[Path, Path], tmp_path: Path) -> None:
    for folder, file in (("in", pair[0]), ("masks", pair[1])):
        (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            shutil.copy(file, tmp_path / folder / f"{name}.png")
    words = ("inpaint", tmp_path / "in", tmp_path / "masks", "-o", tmp_path / "out", "--model", "harmonic")
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / LOCK):
        refused = run(*words)
    assert refused.code == 2 and f"error: another process writes into {tmp_path / 'out'}; " in refused.err
    assert run(*words).code == 0 and not (tmp_path / "out" / LOCK).exists()


@pytest.mark.parametrize("keep", [False, True])
def test_a_photograph_keeps_its_date_and_its_place_on_request(
    run, pair: tuple[Path, Path], tmp_path: Path, keep: bool
) -> None:
    with Image.open(pair[0]) as image:
        exif = image.getexif()
        exif[0x0132] = "2024:05:06 07:08:09"
        exif.get_ifd(0x8825)[1] = "N"
        image.convert("RGB").save(tmp_path / "photo.jpg", exif=exif)
    call = ("inpaint", tmp_path / "photo.jpg", pair[1], "-o", tmp_path / "out.png", "--model", "biharmonic")
    done = run(*call, *(["--keep-gps"] if keep else []))
    assert done.code == 0, done.err
    with Image.open(tmp_path / "out.png") as image:
        exif = image.getexif()
        assert exif[0x0132] == "2024:05:06 07:08:09" and bool(exif.get_ifd(0x8825)) == keep

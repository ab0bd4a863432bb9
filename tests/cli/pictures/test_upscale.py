"""The upscale command as a stranger uses it: real files, bad input of every kind."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import implicitkit as ik
from implicitkit.images.io import Picture, read_picture, write_picture
from implicitkit.images.survey import jpeg_quality
from oracles import PHOTOS
from oracles.models import small_model


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    model = small_model(skip="bilinear")
    with torch.no_grad():  # a gentle model: bilinear interpolation and a little of its own
        model.decoder.rest[-1].weight.mul_(0.05)
        model.decoder.rest[-1].bias.zero_()
    return str(model.save(tmp_path_factory.mktemp("weights") / "m.safetensors"))


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    image = ik.read_image(PHOTOS / "chelsea.png")[:, 60:100, 100:150]
    ik.write_image(tmp_path / "cat.png", image)
    return tmp_path / "cat.png"


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (["--scale", "3.7"], (148, 185)),
        (["--size", "77x33", "--stretch"], (33, 77)),
        (["--size", "100x80"], (80, 100)),
        (["--size", "201x160"], (160, 201)),  # less than 1 %: nobody sees it
        (["--size", "77x33", "--fit"], (33, 41)),
        (["--size", "40x60", "--fit"], (32, 40)),
        (["--size", "77x33", "--crop"], (33, 77)),
        (["--width", "100"], (80, 100)),
        (["--height", "81"], (81, 101)),
        (["--width", "60", "--height", "20", "--stretch"], (20, 60)),
        (["--scale", "0.5"], (20, 25)),
        ([], (160, 200)),
        (["--scale", "2", "--tile", "16"], (80, 100)),
        (["--scale", "2", "--precision", "bfloat16"], (80, 100)),
    ],
)
def test_sizes(run, cat: Path, weights: str, tmp_path: Path, options: list[str], size: tuple[int, int]) -> None:
    done = run("upscale", cat, "-o", tmp_path / "out.png", "--model", weights, *options)
    assert done.code == 0, done.err
    assert read_picture(tmp_path / "out.png").size == size
    assert f"50×40 -> {tmp_path / 'out.png'} {size[1]}×{size[0]}" in done.out


def test_names_beside_the_input(run, cat: Path, weights: str) -> None:
    for options, name in (
        (["--scale", "1.5"], "cat_x1.5.png"),
        (["--size", "9x7"], "cat_9x7.png"),
        (["--width", "9"], "cat_w9.png"),
    ):
        assert run("upscale", cat, "--model", weights, *options).code == 0
        assert (cat.parent / name).exists()


def test_nothing_is_overwritten_without_force(run, cat: Path, weights: str, tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    target.write_bytes(b"precious")
    refused = run("upscale", cat, "-o", target, "--model", weights)
    assert refused.code == 2 and refused.errors == [f"error: {target} exists; pass --force to overwrite it"]
    assert target.read_bytes() == b"precious"
    assert run("upscale", cat, "-o", target, "--model", weights, "--force", "--scale", "1.1").code == 0
    same = run("upscale", cat, "-o", cat, "--model", weights, "--force")
    assert same.code == 2 and "is the input itself" in same.err


def test_grey_alpha_depth_and_profile_are_kept(run, weights: str, tmp_path: Path) -> None:
    base = (ik.read_image(PHOTOS / "chelsea.png")[:, 60:90, 100:130].movedim(0, -1).numpy() * 65535).astype(np.uint16)
    ramp = np.tile(np.linspace(0, 65535, 30, dtype=np.uint16), (30, 1))
    kinds = {
        "grey.png": Picture((base[..., :1] // 257).astype(np.uint8)),
        "alpha.png": Picture((base // 257).astype(np.uint8), (ramp // 257).astype(np.uint8)),
        "deep.png": Picture(base, icc=b"profile"),
        "deepgrey.tif": Picture(base[..., :1], ramp),
    }
    for name, picture in kinds.items():
        write_picture(tmp_path / name, picture)
        done = run("upscale", tmp_path / name, "-o", tmp_path / "out" / name, "--model", weights, "--scale", "2.5")
        assert done.code == 0, done.err
        result = read_picture(tmp_path / "out" / name)
        assert (result.bits, result.is_grey, result.alpha is None) == (
            picture.bits,
            picture.is_grey,
            picture.alpha is None,
        )
        assert result.size == (75, 75)
        again = (result.colour().mean((1, 2)) - picture.colour().mean((1, 2))).abs().max()
        assert again < 0.02, name
    assert read_picture(tmp_path / "out" / "deep.png").icc == b"profile"
    assert len(np.unique(read_picture(tmp_path / "out" / "deep.png").pixels & 255)) > 100  # the low byte is in use


def test_no_dark_fringe_around_what_is_transparent(run, weights: str, tmp_path: Path) -> None:
    y, x = np.mgrid[:40, :40]
    disc = ((y - 19.5) ** 2 + (x - 19.5) ** 2 < 150).astype(np.uint8) * 255
    white_on_black = np.where(disc[..., None] > 0, np.uint8(250), np.uint8(0)).repeat(3, axis=2)
    write_picture(tmp_path / "disc.png", Picture(white_on_black, disc))
    assert (
        run("upscale", tmp_path / "disc.png", "-o", tmp_path / "out.png", "--model", weights, "--scale", "3.3").code
        == 0
    )
    result = read_picture(tmp_path / "out.png")
    assert result.pixels[result.alpha > 0].min() > 225  # the model's own deviation; a fringe would go down to half


def test_a_folder_keeps_going_and_reports_the_bad_at_the_end(run, cat: Path, weights: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "c.png"):
        (folder / name).write_bytes(cat.read_bytes())
    (folder / "b.png").write_bytes(cat.read_bytes()[:300])
    (folder / "notes.txt").write_text("not a picture")
    done = run("upscale", folder, "-o", tmp_path / "out", "--model", weights, "--scale", "1.5")
    assert done.code == 2
    *_, failure, error = done.err.splitlines()
    assert (
        done.err.splitlines()[0] == f"left out of {folder}: 1 file of other kinds (.txt 1); name a file to process it"
    )
    assert error == "error: 1 of 3 pictures failed" and failure.startswith("failed: ") and "b.png" in failure
    assert sorted(p.name for p in (tmp_path / "out").glob("[!.]*")) == ["a.png", "c.png"]


def test_one_pixel_and_a_strip(run, weights: str, tmp_path: Path) -> None:
    ik.write_image(tmp_path / "dot.png", torch.full((3, 1, 1), 0.4))
    ik.write_image(tmp_path / "strip.png", torch.rand(3, 1, 40000))
    assert (
        run(
            "upscale", tmp_path / "dot.png", "-o", tmp_path / "o.png", "--model", weights, "--size", "5x6", "--crop"
        ).code
        == 0
    )
    assert (
        run("upscale", tmp_path / "strip.png", "-o", tmp_path / "s.png", "--model", weights, "--scale", "1.25").code
        == 0
    )
    assert read_picture(tmp_path / "s.png").size == (1, 50000)
    refused = run("upscale", tmp_path / "strip.png", "-o", tmp_path / "s.webp", "--model", weights)
    assert refused.code == 2 and "at most 16383 pixels" in refused.err
    assert not (tmp_path / "s.webp").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scale", "2", "--size", "3x3"], "give one of --scale, --size"),
        (["--scale", "0"], "--scale is a positive number up to 1e+06; received 0"),
        (["--scale", "-2"], "--scale is a positive number"),
        (["--scale", "nan"], "--scale is a positive number"),
        (["--scale", "1e300"], "--scale is a positive number up to 1e+06"),
        (["--scale", "1e5", "--tile", "auto"], "GB are free"),
        (["--device", "meta"], "the device 'meta' cannot be used"),
        (["--scale", "big"], "--scale"),
        (["--size", "12"], "--size is WIDTHxHEIGHT"),
        (
            ["--size", "90x60"],
            "90×60 (width×height) changes the aspect of a picture of 50×40 by 20.0%; pass --fit (the ",
        ),
        (["--size", "60x90"], "or --stretch"),
        (["--width", "90", "--height", "60"], "--crop (fill it, cut the centre)"),
        (["--fit", "--crop", "--size", "9x9"], "give one of --fit, --crop and --stretch; received --fit and --crop"),
        (["--fit", "--width", "9"], "--fit goes with a box: --size, or --width and --height"),
        (["--size", "0x5"], "--size is WIDTHxHEIGHT"),
        (["--width", "-3"], "--width is a positive number"),
        (["--size", "1000000x800000"], "1000000×800000 pixels needs 7,200.0 GB"),
        (["--tile", "x"], "--tile is auto or"),
        (["--device", "tpu9"], "the device 'tpu9' cannot be used"),
        (["--precision", "int4"], "precision is auto"),
        (["--model", "liif_smal"], "did you mean 'liif_small'"),
        (["--model", "no/such.safetensors"], "there is no file no/such.safetensors"),
        (["--colour", "3"], "No such option"),
    ],
)
def test_bad_options_are_one_line(
    run, cat: Path, weights: str, tmp_path: Path, options: list[str], message: str
) -> None:
    model = [] if "--model" in options else ["--model", weights]
    done = run("upscale", cat, "-o", tmp_path / "out.png", *model, *options)
    assert done.code == 2
    assert len(done.errors) == 1 and message in done.errors[0], done.err
    assert "Traceback" not in done.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cat.png"]


def test_bad_files_are_one_line(run, weights: str, tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "folder").mkdir()
    for name, message in (
        ("empty.png", "0 bytes"),
        ("text.jpg", "is a text file"),
        ("none.png", "there is no file"),
        ("folder", "holds no pictures"),
    ):
        done = run("upscale", tmp_path / name, "-o", tmp_path / "out.png", "--model", weights)
        assert done.code == 2 and len(done.errors) == 1 and message in done.errors[0]
    assert not (tmp_path / "out.png").exists()


def test_outputs_that_cannot_be(run, cat: Path, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("upscale", cat, "-o", tmp_path / "out.gif", "--model", weights)
    assert done.code == 2 and "pictures are written as" in done.err
    (tmp_path / "second.png").write_bytes(cat.read_bytes())
    done = run("upscale", cat, tmp_path / "second.png", "-o", tmp_path / "out.png", "--model", weights)
    assert done.code == 2 and "cannot become the one file" in done.err
    (tmp_path / "locked").mkdir()
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda p, mode: Path(p).name != "locked" and access(p, mode)
    )  # root may write anywhere
    done = run("upscale", cat, "-o", tmp_path / "locked" / "out.png", "--model", weights)
    assert done.code == 2 and "locked is read-only" in done.err
    monkeypatch.undo()
    if Path("/proc/self").exists():  # a folder in which nobody can create a file, whatever access() says
        done = run("upscale", cat, "-o", "/proc/out.png", "--model", weights, "--scale", "1")
        assert done.code == 2 and len(done.errors) == 1 and "/proc cannot be written" in done.errors[0]


def test_force_never_eats_an_input(run, cat: Path, weights: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "cat.png").write_bytes(cat.read_bytes())
    done = run("upscale", cat, other, "-o", other, "--force", "--model", weights)
    assert done.code == 2 and "is an input itself" in done.err
    assert (other / "cat.png").read_bytes() == cat.read_bytes()
    assert run("upscale", cat, cat, "-o", tmp_path / "out", "--model", weights, "--scale", "1.1").code == 0


def test_a_folder_twice_does_not_enlarge_its_own_results(run, cat: Path, weights: str) -> None:
    for _ in range(2):
        run("upscale", cat.parent, "--model", weights, "--scale", "1.5", "--force")
    assert sorted(p.name for p in cat.parent.glob("[!.]*")) == ["cat.png", "cat_x1.5.png"]


def test_a_folder_twice_at_other_sizes_leaves_out_what_it_made(run, cat: Path, weights: str) -> None:
    for options in (["--scale", "1.5"], ["--width", "60"], ["--size", "20x16"]):
        assert run("upscale", cat.parent, "--model", weights, *options).code == 0
    done = run("upscale", cat.parent, "--model", weights, "--height", "20", "-o", cat.parent / "out")
    assert done.code == 0 and sorted(p.name for p in (cat.parent / "out").glob("[!.]*")) == ["cat.png"]
    assert "cat_20x16.png, cat_w60.png, cat_x1.5.png, results of earlier runs" in done.err
    again = run("upscale", cat.parent, "--model", weights, "--scale", "2")
    assert again.code == 0 and again.out.count("->") == 1  # nor what lies in the folder of results


def test_of_a_folder_only_the_pictures_of_another_aspect_fail(run, cat: Path, weights: str, tmp_path: Path) -> None:
    image = ik.read_image(cat)
    ik.write_image(tmp_path / "tall.png", image[:, :, :20])
    done = run("upscale", tmp_path, "-o", tmp_path / "out", "--model", weights, "--size", "25x20")
    assert done.code == 2 and "error: 1 of 2 pictures failed" in done.err and "tall.png: 25×20" in done.err
    assert [p.name for p in (tmp_path / "out").glob("[!.]*")] == ["cat.png"]


def test_debug_shows_the_traceback(run, tmp_path: Path) -> None:
    plain, debug = run("upscale", tmp_path / "none.png"), run("upscale", tmp_path / "none.png", "--debug")
    assert plain.code == debug.code == 2 and plain.err == f"error: there is no file {tmp_path / 'none.png'}\n"
    assert "Traceback" in debug.err and debug.err.endswith(plain.err)


def test_a_folder_run_with_its_options(run, cat: Path, weights: str, tmp_path: Path) -> None:
    (cat.parent / "sub").mkdir()
    (cat.parent / "sub" / "cat.png").write_bytes(cat.read_bytes())
    call = ("upscale", cat.parent, "-o", cat.parent / "out", "--model", weights, "-s", "1.5")
    options = ("--recursive", "--format", "jpg", "--quality", "60", "--name", "{number}-{name}-{label}")
    done = run(*call, *options)
    assert done.code == 0, done.err
    first, second = cat.parent / "out" / "1-cat-x1.5.jpg", cat.parent / "out" / "sub" / "2-cat-x1.5.jpg"
    assert jpeg_quality(first) == jpeg_quality(second) == 60
    assert done.err.splitlines()[-1].startswith("2 of 2 pictures done in ")
    second.unlink()
    before = first.stat().st_mtime_ns
    again = run(*call, *options, "--skip-existing")
    assert again.code == 0 and again.out.count("->") == 1 and first.stat().st_mtime_ns == before and second.exists()
    assert again.err.splitlines()[-1].endswith(", 1 was there already")
    refused = run(*call, *options)
    assert refused.errors == ["error: 2 of 2 pictures failed; --skip-existing leaves out what is there"]


def test_a_request_beyond_the_training_is_said_before_the_work(run, cat: Path, tmp_path: Path) -> None:
    done = run("upscale", cat, "-o", tmp_path / "out.png", "--model", "liif_small", "--scale", "5")
    assert done.code == 0
    assert done.err.splitlines()[0] == (
        "note: cat.png: magnified ×5; liif_small was trained for ×1.2 to ×4; no model here was trained for it"
    )
    fine = run("upscale", cat, "-o", tmp_path / "fine.png", "--model", "liif_small", "--scale", "3")
    assert fine.code == 0 and fine.err == ""


def test_tiles_that_waste_work_are_said(run, cat: Path, weights: str, tmp_path: Path) -> None:
    done = run("upscale", cat, "-o", tmp_path / "out.png", "--model", weights, "--scale", "1.1", "--tile", "3")
    assert done.code == 0 and "note: a tile of 3 pixels is read with " in done.err


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_photographs_keep_what_belongs_to_them(run, tmp_path: Path, weights: str, name: str) -> None:
    from images.test_metadata import PLACE, exif_of_a_camera, photograph

    photo, out = photograph(tmp_path / name, exif_of_a_camera()), tmp_path / f"out{Path(name).suffix}"
    for options, kept in (([], False), (["--keep-gps", "--keep-text"], True)):
        done = run("upscale", photo, "-o", out, "--model", weights, "--scale", "2", "--force", *options)
        assert done.code == 0 and "left out" not in done.err, done.err
        with Image.open(out) as image:
            exif = image.getexif()
            assert exif[0x0132] == "2024:05:06 07:08:09" and exif.get_ifd(0x8769)[0xA002] == 32 == image.width
            assert bool(exif.get_ifd(0x8825)) == kept and 0x0112 not in exif
            assert name != "a.png" or ("Title" in image.text) == kept
        assert kept or PLACE not in out.read_bytes()


def test_hdr(run, tmp_path: Path, weights: str) -> None:
    sky = np.full((8, 8, 3), 0.5, np.float32)
    sky[2:5, 2:5] = 9.0
    tifffile.imwrite(tmp_path / "sky.tif", sky, photometric="rgb")
    done = run("upscale", tmp_path / "sky.tif", "-o", tmp_path / "a.tif", "--model", weights, "--hdr")
    assert done.code == 0 and not done.err, done.err
    assert read_picture(tmp_path / "a.tif", hdr=True).pixels.max() > 5
    done = run("upscale", tmp_path / "sky.tif", "-o", tmp_path / "b.tif", "--model", weights)
    assert done.code == 0 and "14.1 % of the values are outside [0, 1]; they are cut off" in done.err
    assert read_picture(tmp_path / "b.tif").bits == 16
    done = run("upscale", tmp_path / "sky.tif", "-o", tmp_path / "c.png", "--model", weights, "--hdr")
    assert done.code == 2 and "--hdr keeps values above 1, which .tif and .tiff and .exr hold" in done.err


def test_a_folder_of_all_kinds_says_what_it_leaves_out(run, tmp_path: Path, weights: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    ik.write_image(folder / "a.jfif", torch.rand(3, 8, 6))
    ik.write_image(folder / "b.png", torch.rand(3, 8, 6))
    Image.fromarray(np.zeros((8, 6), np.uint8)).save(folder / "c.gif")
    for name in ("clip.mov", "raw.nef", "text.txt"):
        (folder / name).write_bytes(b"x")
    done = run("upscale", folder, "-o", tmp_path / "out", "--model", weights, "--scale", "2")
    assert done.code == 0 and "3 files of other kinds (.mov 1, .nef 1, .txt 1)" in done.err.replace("\n", " ")
    assert sorted(p.name for p in (tmp_path / "out").glob("[!.]*")) == ["a.jfif", "b.png", "c.png"]

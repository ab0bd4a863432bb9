"""Results of earlier runs are no inputs, wherever their folder lies; a user's own pictures beside them are."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

import implicitkit as ik
from implicitkit.cli.inputs import find_pictures
from implicitkit.images.folders import RECORD, Origin, fingerprint, picture_files, pictures_in, results_among


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two pictures, one of them in a folder."""
    folder = tmp_path / "photos"
    (folder / "b").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "b/c.png")):
        pixels = torch.rand(3, 8, 9, generator=torch.Generator().manual_seed(seed))
        ik.write_image(folder / name, pixels)
    return folder


def taken(text: str) -> list[str]:
    """The inputs that a run's lines name."""
    return sorted(line.split()[0].partition("photos/")[2] for line in text.splitlines() if " -> " in line)


UPSCALE = ("upscale", "--scale", 1)
DEGRADE = ("degrade", "--spec", "noise", "--reference")


@pytest.mark.parametrize("command", [UPSCALE, DEGRADE], ids=lambda words: words[0])
@pytest.mark.parametrize("name", [(), ("--name", "{name}-{label}")], ids=["default names", "own names"])
def test_results_inside_the_tree_are_no_inputs(run, photos: Path, command: tuple, name: tuple) -> None:
    for out in ("r1", "deep/r2"):
        done = run(*command, photos, "-r", "-o", photos / out, *name)
        assert done.code == 0 and taken(done.out) == ["a.png", "b/c.png"], done.err
    done = run("upscale", photos, "-r", "-o", photos / "r3", "--scale", 1)
    assert taken(done.out) == ["a.png", "b/c.png"]
    assert done.err.count("\n") == 2 and "results of earlier runs; name a file to process it" in done.err
    assert " and 1 more, " in done.err if command is UPSCALE else " and 9 more, " in done.err  # masks and references


def test_own_pictures_among_results_are_inputs(run, photos: Path) -> None:
    run("upscale", photos, "-r", "-o", photos / "x2", "--scale", 1)
    ik.write_image(photos / "x2" / "mine.png", torch.zeros(3, 4, 4))
    ik.write_image(photos / "x2" / "a.png", torch.ones(3, 4, 4))  # in the place of a result
    ik.write_image(photos / "a_x2.png", torch.ones(3, 4, 4))  # named as a result would be
    done = run("upscale", photos, "-r", "-o", photos / "x4", "--scale", 1)
    assert taken(done.out) == ["a.png", "a_x2.png", "b/c.png", "x2/a.png", "x2/mine.png"]
    assert f"left out of {photos}: x2/b/c.png, results of earlier runs; name a file to process it" in done.err


def test_a_folder_of_results_is_an_input_where_it_is_named(run, photos: Path, tmp_path: Path) -> None:
    """Without the masks and references in it, which were made from others in it."""
    assert run(*DEGRADE, photos, "-r", "-o", photos / "low").code == 0
    done = run("upscale", photos / "low", "-r", "-o", tmp_path / "large", "--scale", 1)
    assert taken(done.out) == ["low/a.png", "low/b/c.png"]
    assert run("upscale", photos / "low" / "a.png", "-o", tmp_path / "one.png", "--scale", 1).code == 0
    work = tmp_path / "work"
    work.mkdir()
    shutil.move(photos / "low", work / "moved")  # its record goes with it
    none = run("upscale", work, "-r", "-o", tmp_path / "none", "--scale", 1)
    assert none.code == 2 and none.err.splitlines()[-1] == (
        f"error: {work} holds no pictures but results of earlier runs; name them, or their folder"
    )


def test_results_beside_their_pictures_are_no_inputs(run, photos: Path) -> None:
    assert run("upscale", photos / "a.png", "--scale", 2).code == 0
    done = run("upscale", photos, "--scale", 3)
    assert taken(done.out) == ["a.png"] and "a_x2.png, results of earlier runs" in done.err
    assert "a_x2.png, a_x3.png, results" in run("upscale", photos, "--scale", 3, "--force").err


def test_a_file_that_was_named_is_a_picture_like_any_other(run, photos: Path, tmp_path: Path) -> None:
    for target in (photos / "mine.png", tmp_path / "one.png"):
        assert run("upscale", photos / "a.png", "-o", target, "--scale", 1).code == 0
        assert not (target.parent / RECORD).exists()
    assert taken(run("upscale", photos, "-o", tmp_path / "all", "--scale", 1).out) == ["a.png", "mine.png"]
    low = tmp_path / "low" / "a.png"
    assert run(*DEGRADE, photos / "a.png", "-o", low).code == 0
    assert find_pictures([low.parent]) == [low]  # without its mask and its reference


def test_a_run_that_was_stopped_and_goes_on(run, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written is recorded, whatever happens right after; what is there is skipped."""
    out, replace = photos / "x2", os.replace

    def stopped(source: str, target: str) -> None:
        replace(source, target)
        if Path(target).name == "a.png":
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", stopped)
        assert run("upscale", photos, "-r", "-o", out, "--scale", 1).code == 130
    assert results_among(pictures_in(photos, recursive=True), photos) == {out / "a.png"}
    done = run("upscale", photos, "-r", "-o", out, "--scale", 1, "--skip-existing")
    assert done.code == 0 and taken(done.out) == ["b/c.png"]
    assert results_among(pictures_in(photos, recursive=True), photos) == {out / "a.png", out / "b" / "c.png"}


def test_pictures_that_cannot_be_written_to_are_read(run, photos: Path, tmp_path: Path) -> None:
    for path in (photos / "b", photos):
        path.chmod(0o555)
    done = run("upscale", photos, "-r", "-o", tmp_path / "out", "--scale", 1)
    for path in (photos, photos / "b"):
        path.chmod(0o755)
    assert done.code == 0 and (tmp_path / "out" / "b" / RECORD).is_file()


@pytest.mark.filterwarnings("default")
def test_a_record_that_cannot_be_written_costs_no_result(run, photos: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / RECORD)
    done = run("upscale", photos / "a.png", photos / "b" / "c.png", "-o", tmp_path, "--scale", 1)
    assert done.err.count(f"warning: cannot write {tmp_path / RECORD} ") == 2, done.err
    assert done.code == 0 and (tmp_path / "a.png").exists() and (tmp_path / "c.png").exists()
    assert results_among(pictures_in(tmp_path), tmp_path) == set()


@pytest.mark.parametrize("line", ["", "{", "[]", "1", "[" * 100_000, '{"name": "a.png"}', '{"name": [], "from": 1}'])
def test_damaged_records_name_nothing(photos: Path, line: str) -> None:
    size, mark = fingerprint(photos / "a.png")
    entry = {"name": "a.png", "from": "x.png", "root": "b/..", "bytes": size, "fingerprint": mark}
    (photos / RECORD).write_text(line + "\n" + json.dumps(entry) + "\n" + line)
    pictures = pictures_in(photos, recursive=True)
    assert results_among(pictures, photos) == set()  # its root is the folder, and x.png is not there
    assert results_among(pictures, photos.parent) == {photos / "a.png"}


def test_names_that_are_not_utf8(photos: Path) -> None:
    strange = photos / os.fsdecode(b"caf\xe9.png")
    strange.write_bytes(b"any")
    Origin(photos / "a.png", photos).recorder(strange)(strange)
    assert results_among(pictures_in(photos), photos) == {strange}


@pytest.mark.filterwarnings("default")
def test_data_folders_leave_results_out_and_say_so(run, photos: Path) -> None:
    """Training and scoring take neither what was made from the pictures nor masks."""
    assert run(*DEGRADE, photos, "-r", "-o", photos / "low").code == 0
    with pytest.warns(UserWarning, match=r"left out of .*photos: 6 results of earlier runs, such as low/a.png; name"):
        assert picture_files([photos]) == [photos / "a.png", photos / "b" / "c.png"]
    with pytest.warns(UserWarning, match="4 results"):  # masks and references
        assert picture_files([photos / "low"]) == [photos / "low" / "a.png", photos / "low" / "b" / "c.png"]
    done = run("data", "check", photos)
    assert "2 pictures" in done.out and done.err.count("warning: left out of") == 1, done.err
    (photos.parent / "work").mkdir()
    shutil.move(photos / "low", photos.parent / "work" / "low")
    with pytest.raises(ik.errors.DataError, match="holds no pictures but results of earlier runs; name their folder"):
        picture_files([photos.parent / "work"])

"""What is made before the runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support import PHOTOS

import implicitkit as ik
from implicitkit.comparison.config import Cut, Preparation
from implicitkit.comparison.preparation import cut, how_made, prepare_all


def test_squares_cover_each_picture_once(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    picture = ik.read_image(PHOTOS / "chelsea.png")[:, :133, :200]
    ik.write_image(folder / "cat.png", picture)
    cut(Cut(folders=[str(folder)], side=64, test_every=4), tmp_path / "squares")
    found = {p.stem: p for p in (tmp_path / "squares").rglob("*.png")}
    corners = [(top, left) for top in (2, 66) for left in (4, 68, 132)]  # 5 rows and 8 columns are left over
    assert set(found) == {f"cat_{top}_{left}" for top, left in corners}
    for k, (top, left) in enumerate(corners, start=1):
        file = found[f"cat_{top}_{left}"]
        assert file.parent.name == ("test" if k == 4 else "train")
        assert torch.equal(ik.read_image(file), picture[:, top : top + 64, left : left + 64])


def test_too_few_squares_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(ik.UserError, match=r"give 0 squares of 4000 pixels.*make side smaller"):
        cut(Cut(folders=[str(PHOTOS)], side=4000), tmp_path / "squares")
    assert not any(tmp_path.iterdir())
    with pytest.raises(ik.DataError, match="there is no folder"):
        cut(Cut(folders=["nowhere"]), tmp_path / "squares")


def made_by(output: Path, *command: str, **more: str) -> list[Preparation]:
    return [Preparation(makes=str(output / "seen.png"), command=[*command], **more)]


def test_a_command_is_run_once_and_its_making_noted(tmp_path: Path) -> None:
    command = ["degrade", str(PHOTOS / "chelsea.png"), "-o", str(tmp_path / "seen.png"), "--spec", "jpeg"]
    said: list[str] = []
    notes = prepare_all(made_by(tmp_path, *command), tmp_path, threads=1, say=said.append)
    assert said == [f"making {tmp_path / 'seen.png'}"] and (tmp_path / "seen.png").is_file()
    note = notes[str(tmp_path / "seen.png")]
    assert note["how"] == command and note["threads"] == 1 and note["seconds"] > 0
    before = (tmp_path / "seen.png").stat().st_mtime_ns
    assert prepare_all(made_by(tmp_path, *command), tmp_path, threads=1, say=said.append) == notes
    assert len(said) == 1 and (tmp_path / "seen.png").stat().st_mtime_ns == before
    with pytest.raises(ik.ConfigError, match=r"was made in another way \(implicitkit degrade .*--spec jpeg\)"):
        prepare_all(made_by(tmp_path, *command, "--quality", "80"), tmp_path, threads=1, say=said.append)


def test_what_was_there_before_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "seen.png").write_bytes(b"")
    steps = made_by(tmp_path, "degrade")
    assert prepare_all(steps, tmp_path, threads=1, say=print) == {str(tmp_path / "seen.png"): {"how": "was there"}}
    assert how_made(steps, tmp_path) == {str(tmp_path / "seen.png"): {"how": "was there"}}


def test_a_command_that_fails_is_named_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(ik.UserError, match=r"prepare: implicitkit list nothing failed: .*nothing"):
        prepare_all(made_by(tmp_path, "list", "nothing"), tmp_path, threads=1, say=print)
    with pytest.raises(ik.UserError, match=r"list losses failed: it has not made .*seen.png"):
        prepare_all(made_by(tmp_path, "list", "losses"), tmp_path, threads=1, say=print)
    assert not (tmp_path / "prepare.json").exists()


def test_a_command_that_was_stopped_is_resumed(tmp_path: Path) -> None:
    """--resume is added where the file that it resumes from is there; ``list`` says that it does not know it."""
    (tmp_path / "checkpoint").write_text("")
    steps = made_by(tmp_path, "list", "losses", resumes_from=str(tmp_path / "checkpoint"))
    with pytest.raises(ik.UserError, match=r"No such option:? '?--resume"):
        prepare_all(steps, tmp_path, threads=1, say=print)


def test_a_damaged_note_is_said(tmp_path: Path) -> None:
    (tmp_path / "prepare.json").write_text("{")
    with pytest.raises(ik.UserError, match="cannot read"):
        how_made([], tmp_path)
    (tmp_path / "prepare.json").write_text(json.dumps({"a": 1}))
    assert how_made([], tmp_path) == {}

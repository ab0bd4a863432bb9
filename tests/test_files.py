"""Files that appear whole or not at all, digests of content, and locks."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from filelock import FileLock, Timeout

import implicitkit as ik
from implicitkit import files, nested
from implicitkit.config import DataConfig, load_yaml
from implicitkit.errors import UserError
from implicitkit.files import (
    LOCK,
    cache_folder,
    describe_content,
    digest,
    is_held,
    read_json,
    read_kept,
    replacing,
    replacing_folder,
    write_json,
    write_kept,
    write_text,
    writing_into,
)
from implicitkit.weights import read_checkpoint, read_pickled
from oracles import PARITY


def test_a_file_takes_its_place_when_all_is_written(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    target.write_text("before")
    with replacing(target) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".png" and temporary.name.startswith(".")
        temporary.write_text("after")
        assert target.read_text() == "before"
    assert target.read_text() == "after" and list(tmp_path.iterdir()) == [target]


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("before")
    with pytest.raises(ZeroDivisionError), replacing(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    with pytest.raises(UserError, match=r"cannot write .*a\.txt: No space left"), replacing(target) as temporary:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")
    assert target.read_text() == "before" and list(tmp_path.iterdir()) == [target]


def test_a_folder_too(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "new") as temporary:
        (temporary / "x").touch()
        assert not (tmp_path / "new").exists()
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["x"]
    with pytest.raises(ZeroDivisionError), replacing_folder(tmp_path / "other"):
        raise ZeroDivisionError
    with pytest.raises(UserError, match="cannot write"), replacing_folder(tmp_path / "new"):  # it is there
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["new"]


def test_text_and_json(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "×")
    write_json(tmp_path / "a.json", {"ratio": "×2"})
    assert (tmp_path / "a.txt").read_bytes() == "×".encode()
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"ratio": "×2"} and "×" in text and text.endswith("}\n")


def test_where_what_can_be_made_again_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPLICITKIT_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("IMPLICITKIT_CACHE")
    assert cache_folder() == tmp_path / "user" / "implicitkit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder() == tmp_path / ".cache" / "implicitkit"

    def nowhere() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(UserError, match="set IMPLICITKIT_CACHE"):
        cache_folder()


NOT_WEIGHTS = {
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n": "a Git LFS pointer, not the file itself",
    b"\n<!DOCTYPE html><html><title>Sign in</title></html>": "a web page, not the file itself",
    b"some words\r\n\tand more": "a text file",
    b"": r"empty \(0 bytes\)",
    b"RIFF\x10\0\0\0WEBPVP8 ": "a WebP picture",
    b"\xff\xd8\xff\xe0\0\x10JFIF": "a JPEG picture",
}


@pytest.mark.parametrize("content", NOT_WEIGHTS)
def test_what_stands_in_place_of_weights_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ik.WeightsError, match=f"is {NOT_WEIGHTS[content]}.*weights are .safetensors or .pth files"):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC picture"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "a video, whatever its name says"),
        (b"%PDF-1.7", "a PDF document, whatever its name says"),
        (b"<html>", "a web page, not the file itself"),
    ],
)
def test_what_stands_in_place_of_a_picture_is_named(content: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ik.ImageError, match=f"a.jpg is {what}"):
        ik.read_image(tmp_path / "a.jpg")


def test_bytes_that_tell_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(range(128, 200)))
    assert describe_content(tmp_path / "a") is None


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_taken_off(prefix: str, tmp_path: Path) -> None:
    plain = torch.load(PARITY / "liif-edsr.pth", map_location="cpu", weights_only=True)
    state = plain["model"]["sd"]
    wrapped = {**plain, "model": {**plain["model"], "sd": {prefix + key: value for key, value in state.items()}}}
    torch.save(wrapped, tmp_path / "wrapped.pth")
    ours, theirs = (ik.load_model(path).state_dict() for path in (tmp_path / "wrapped.pth", PARITY / "liif-edsr.pth"))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_name_that_is_not_utf_8_is_written(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    write_json(tmp_path / "a.json", {name: 1})
    assert json.loads((tmp_path / "a.json").read_text()) == {name: 1}


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert DataConfig(folders=["~/pictures", "other"]).folders == [tmp_path / "pictures", Path("other")]


def test_a_folder_is_known_by_names_and_content(tmp_path: Path) -> None:
    (tmp_path / "one" / "inner").mkdir(parents=True)
    (tmp_path / "one" / "inner" / "a").write_text("a")
    before = digest(tmp_path / "one")
    assert digest(tmp_path / "one") == before != digest(tmp_path / "one" / "inner")
    (tmp_path / "one" / "inner" / "a").write_text("b")
    assert digest(tmp_path / "one") != before
    assert (
        digest(tmp_path / "one" / "inner" / "a") == "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
    )


def test_a_lock_is_seen_and_left_alone(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "lock")
    with FileLock(tmp_path / "lock"):
        assert is_held(tmp_path / "lock") and is_held(tmp_path / "lock")
    assert not is_held(tmp_path / "lock")


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ik.UserError, match=r"cannot read .*x.json: Expecting"):
        read_json(tmp_path / "x.json")
    with pytest.raises(ik.UserError, match="there is no file"):
        read_json(tmp_path / "none.json")


def test_a_kept_value_is_of_its_key(tmp_path: Path) -> None:
    write_kept(tmp_path / "kept.json", {"of": (1, 2)}, [3])
    assert read_kept(tmp_path / "kept.json", {"of": (1, 2)}) == [3]
    assert read_kept(tmp_path / "kept.json", {"of": (1, 3)}) is None and read_kept(tmp_path / "none.json", 1) is None
    for text in ("{", "[]", "3", '{"old": 1}'):
        (tmp_path / "kept.json").write_text(text)
        assert read_kept(tmp_path / "kept.json", {"of": (1, 2)}) is None


def test_a_pipe_a_socket_and_a_device_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    readers = (files.read_text, files.read_json, files.describe_content, files.check_regular, ik.read_image)
    for read in (*readers, ik.load_model, load_yaml, read_pickled, read_checkpoint):
        with pytest.raises(UserError, match="pipe is a pipe, not a file; save it as a file first"):
            read(tmp_path / "pipe")
    with pytest.raises(UserError, match="/dev/zero is a device"):
        ik.read_image("/dev/zero")
    files.check_regular(tmp_path)
    files.check_regular(tmp_path / "nowhere")


def test_texts_that_are_none_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match="a.txt: it is not a text in UTF-8"):
        files.read_text(tmp_path / "a.txt")
    with pytest.raises(UserError, match="cannot read .*: Is a directory"):
        files.read_text(tmp_path)
    with pytest.raises(UserError, match="null"):
        files.read_text("a\0b")


@pytest.mark.parametrize("depth", [nested.MAX_NESTING + 1, 900, 100_000])
def test_json_that_is_nested_too_deeply_is_refused(depth: int, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * depth + "]" * depth)
    with pytest.raises(UserError, match=r"cannot read .*a.json: it is nested more than 64 deep"):
        files.read_json(tmp_path / "a.json")
    fine = "[" * nested.MAX_NESTING + "]" * nested.MAX_NESTING
    assert json.dumps(files.parse_json(fine)) == fine


def test_two_that_write_into_a_folder(tmp_path: Path) -> None:
    new, other = tmp_path / "new" / "out", tmp_path / "other"
    with writing_into([new, other, new]):
        with pytest.raises(Timeout):
            FileLock(new / LOCK).acquire(blocking=False)
        (other / "a.png").write_text("a")
    assert not new.parent.exists() and [file.name for file in other.iterdir()] == ["a.png"]
    with (
        FileLock(other / LOCK),
        pytest.raises(UserError, match=f"^another process writes into {other}; "),
        writing_into([new, other]),
    ):
        pytest.fail("taken")
    assert not new.parent.exists()  # all of them or none


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"#?RADIANCE\n", "a Radiance picture (.hdr)"),
        (bytes(128) + b"DICM" + bytes(400), "a DICOM file"),
        (b"\x5c\x01" + bytes(342) + b"n+1\0" + bytes(200), "a NIfTI volume"),
    ],
)
def test_other_pictures_are_named(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "x").write_bytes(content)
    assert describe_content(tmp_path / "x") == what

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from support import PARITY

import implicitkit as ik
from implicitkit.config import DataConfig
from implicitkit.files import describe_content, write_json
from implicitkit.weights import read_checkpoint

NOT_WEIGHTS = {
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n": "a Git LFS pointer, not the file itself",
    b"\n<!DOCTYPE html><html><title>Sign in</title></html>": "a web page, not the file itself",
    b"some words\nand more": "a text file",
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
        (b"\0\0\0\x18ftypisom\0\0\0\0", "a video"),
        (b"%PDF-1.7", "a PDF document"),
        (b"<html>", "a web page"),
    ],
)
def test_what_stands_in_place_of_a_picture_is_named(content: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ik.ImageError, match=f"is {what}.*; pictures are .png"):
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

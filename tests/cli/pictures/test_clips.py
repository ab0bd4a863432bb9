"""upscale on films."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import implicitkit as ik
from implicitkit.cli.pictures.clips import SUFFIXES
from implicitkit.video.reading import CLIPS, read_clip
from oracles.films import film, sound_of, times_of
from oracles.models import small_model


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(small_model(skip="bilinear").save(tmp_path_factory.mktemp("weights") / "m.safetensors"))


def test_the_suffixes_are_those_of_films() -> None:
    assert SUFFIXES == CLIPS


def test_a_film(run, tmp_path: Path, weights: str) -> None:
    source = film(tmp_path / "clip.mp4", [0, 24, 72])
    done = run("upscale", source, "-o", tmp_path / "out.mp4", "--model", weights, "--scale", "1.7")
    assert done.code == 0, done.err
    assert f"{source} 48×32 -> {tmp_path / 'out.mp4'} 82×54, 3 frames" in done.out
    assert read_clip(tmp_path / "out.mp4").size == (54, 82)
    assert times_of(tmp_path / "out.mp4") == pytest.approx([0, 0.04, 0.12])
    assert sound_of(tmp_path / "out.mp4") == sound_of(source)
    again = run("upscale", source, "-o", tmp_path / "out.mp4", "--model", weights, "--skip-existing")
    assert again.code == 0 and "1 was there already" in again.err
    beside = run("upscale", source, "--model", weights, "--size", "60x40", "--crop")
    assert beside.code == 0 and read_clip(tmp_path / "clip_60x40.mp4").size == (40, 60)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["clip.mp4", "-o", "out.png"], r"out\.png: films are written as \.mp4"),
        (["clip.mp4", "-o", "out.mp4", "--format", "png"], "--format is of pictures"),
        (["clip.mp4", "a.png"], r"a\.png is no film, clip\.mp4 is; do pictures and films separately"),
        (["none.mp4"], r"there is no file none\.mp4"),
        (["clip.mp4", "b.mp4", "-o", "c.mp4"], r"2 films cannot become the one file c\.mp4"),
        (["clip.mp4", "-o", "b.mp4"], r"b\.mp4 exists; pass --force"),
        (["clip.mp4", "-o", "clip.mp4", "--force"], r"clip\.mp4 is the input itself"),
        (["text.mp4", "-o", "out.mp4"], r"text\.mp4 is a text file, not a film"),
        (["clip.mp4", "-o", "out.mp4", "--hdr"], "--hdr keeps values above 1"),
    ],
)
def test_mistakes_are_one_line(
    run, tmp_path: Path, weights: str, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("clip.mp4", "b.mp4"):
        film(tmp_path / name, [0, 24], sound=False)
    ik.write_image(tmp_path / "a.png", torch.rand(3, 8, 8))
    (tmp_path / "text.mp4").write_text("text")
    done = run("upscale", *arguments, "--model", weights)
    assert done.code == 2 and len(done.errors) == 1 and re.search(message, done.errors[0]), done.err

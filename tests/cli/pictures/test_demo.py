"""``implicitkit demo``."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import implicitkit as ik
from implicitkit.cli.pictures.demo import busiest
from implicitkit.images.io import read_picture
from oracles.models import small_model


def test_demo_writes_a_labelled_sheet(run, tmp_path: Path) -> None:
    weights = small_model(skip="bilinear").save(tmp_path / "m.safetensors")
    target = tmp_path / "demo.png"
    done = run("demo", "-o", target, "--model", weights, "--scale", "3.3")
    assert done.code == 0, done.err
    assert "bicubic" in done.out and "dB (PSNR-Y, ×3.3)" in done.out
    height, width = read_picture(target).size
    assert width > 3 * 500 and height > 500
    assert run("demo", "-o", target, "--model", weights).code == 2
    assert "received 0.5" in run("demo", "-o", tmp_path / "x.png", "--model", weights, "--scale", "0.5").err


def test_demo_opens_its_sheet_on_request(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr("typer.launch", opened.append)
    weights = small_model().save(tmp_path / "m.safetensors")
    ik.write_image(tmp_path / "p.png", torch.rand(3, 40, 40))
    how = ("--model", weights, "--photo", tmp_path / "p.png", "--scale", "2")
    assert run("demo", "-o", tmp_path / "a.png", *how).code == 0 and opened == []
    assert run("demo", "-o", tmp_path / "b.png", "--open", *how).code == 0 and opened == [str(tmp_path / "b.png")]


def test_demo_on_a_tiny_photo_says_what_it_needs(run, tmp_path: Path) -> None:
    ik.write_image(tmp_path / "tiny.png", torch.rand(3, 6, 6))
    weights = small_model().save(tmp_path / "m.safetensors")
    done = run("demo", "-o", tmp_path / "x.png", "--photo", tmp_path / "tiny.png", "--model", weights)
    assert done.code == 2 and "at least 32 pixels a side" in done.err


def test_the_detail_is_where_most_happens() -> None:
    picture = torch.zeros(3, 64, 64)
    picture[:, 33:47, 17:31] = torch.rand(3, 14, 14)
    rows, columns = busiest(picture, 16)
    assert (rows, columns) == (slice(32, 48), slice(16, 32))

"""``implicitkit weights``: what is listed, fetched, verified and refused, without a network."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

import implicitkit as ik
from implicitkit.weights.known import known_file


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMPLICITKIT_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def contents(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What the sources hold, by name."""
    held = {name: name.encode() for name in ("lpips_alex", "lpips_vgg")}
    from implicitkit.weights import fetching

    def known(name: str) -> object:
        entry = known_file(name)
        return entry.__class__(**{**vars(entry), "sha256": sha256(name.encode()).hexdigest()})

    def store(known: object, source: object, path: Path) -> None:
        name = {"alexnet_features.safetensors": "lpips_alex"}.get(path.name, "lpips_vgg")
        if name not in held:
            raise ConnectionError("no network")
        path.write_bytes(held[name])

    monkeypatch.setattr(fetching, "known_file", known)
    monkeypatch.setattr(fetching, "_store", store)
    return held


def test_the_list_has_everything_that_is_known(run) -> None:
    done = run("weights")
    assert done.code == 0
    for name in ik.list_weights():
        known = known_file(name)
        assert name in done.out and known.licence in done.out and known.sha256 in done.out
        assert f"{known.size / 1e6:.1f} MB" in done.out and known.scores in done.out
        assert all(source.place in done.out for source in known.sources)
    assert "implicitkit weights get lpips_alex" in run("list", "weights").out


def test_get_prints_paths_and_says_what_it_fetches(run, cache: Path, contents: dict[str, bytes]) -> None:
    file = cache / "weights" / known_file("lpips_alex").file
    done = run("weights", "get", "lpips_alex")
    assert done.code == 0 and done.out.strip() == str(file) and "9.9 MB (BSD-3-Clause) from https://" in done.err
    assert run("weights", "get", "lpips_alex").err == ""


def test_what_cannot_be_had_is_told_after_the_rest(run, contents: dict[str, bytes]) -> None:
    del contents["lpips_alex"]
    done = run("weights", "get", "lpips_alex", "lpips_vgg")
    assert done.code == 2 and done.out.count("\n") == 1 and "vgg16_features" in done.out
    assert "1 of 2 could not be had: lpips_alex" in done.err and "(no network)" in done.err
    assert "tried https://download.pytorch.org" in run("weights", "get", "lpips_alex").err


def test_verify_finds_what_is_damaged(run, cache: Path, contents: dict[str, bytes]) -> None:
    assert "lpips_alex: not here" in run("weights", "verify").out
    file = cache / "weights" / known_file("lpips_alex").file
    file.parent.mkdir()
    file.write_bytes(b"half of it")
    done = run("weights", "verify", "lpips_alex")
    assert done.code == 2 and "lpips_alex: DAMAGED" in done.out and str(file) in done.err
    assert f"here: {file}" in run("weights", "list", "lpips_alex").out
    assert run("weights", "get", "lpips_alex").code == 0
    assert "lpips_alex: intact" in run("weights", "verify", "lpips_alex").out


def test_an_unknown_name_is_refused(run) -> None:
    for action in ("list", "get", "verify"):
        done = run("weights", action, "lpips_ale")
        assert done.code == 2 and "did you mean 'lpips_alex'" in done.err
    assert run("weights", "fetch").code == 2

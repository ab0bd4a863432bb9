"""``implicitkit weights``: what is listed, verified and refused, without a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from implicitkit.weights.known import KNOWN


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMPLICITKIT_CACHE", str(tmp_path))
    return tmp_path


def test_the_list_has_everything_that_is_known(run) -> None:
    done = run("weights")
    assert done.code == 0
    for known in KNOWN.values():
        assert known.name in done.out and known.licence in done.out and known.sha256 in done.out
        assert all(source.place in done.out for source in known.sources)


def test_verify_finds_what_is_damaged(run, cache: Path) -> None:
    assert "lpips_alex: not here" in run("weights", "verify").out
    file = cache / "weights" / KNOWN["lpips_alex"].file
    file.parent.mkdir()
    file.write_bytes(b"half of it")
    done = run("weights", "verify", "lpips_alex")
    assert done.code == 2 and "lpips_alex: DAMAGED" in done.out and str(file) in done.err
    assert f"here: {file}" in run("weights", "list", "lpips_alex").out
    assert run("weights", "get", "lpips_alex").out.strip() == str(file)


def test_an_unknown_name_is_refused(run) -> None:
    for action in ("list", "get", "verify"):
        done = run("weights", action, "lpips_ale")
        assert done.code == 2 and "did you mean lpips_alex" in done.err
    assert run("weights", "fetch").code == 2

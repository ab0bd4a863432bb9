"""A local stand-in of the Hugging Face hub's HTTP interface: repositories, large files, commits and downloads."""

from __future__ import annotations

import base64
import http.server
import json
from hashlib import sha1, sha256
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_of_the_stand_in"


class Hub(http.server.BaseHTTPRequestHandler):
    """What huggingface_hub's client asks of a hub to push and to load; writing needs :data:`TOKEN`."""

    protocol_version = "HTTP/1.1"
    repositories: dict[str, dict[str, bytes]]
    private: dict[str, bool]
    large: dict[str, bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer({"error": "Invalid credentials"}, 401)
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else f"me/{asked['name']}"
            self.private[name] = bool(asked.get("private")) or asked.get("visibility") == "private"
            there = name in self.repositories
            self.repositories.setdefault(name, {})
            self.answer({"url": f"{self.here}/{name}", "name": name}, 409 if there else 200)
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            self.answer({"files": modes})
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**asked, "actions": {"upload": {"href": f"{self.here}/large/{asked['oid']}"}}}
                for asked in json.loads(body)["objects"]
            ]
            self.answer({"transfer": "basic", "objects": objects})
        elif "/commit/" in self.path:
            self.commit(self.path.removeprefix("/api/models/").partition("/commit/")[0], body)
        else:
            self.answer({"error": f"no such route: {self.path}"}, 404)

    def commit(self, repository: str, body: bytes) -> None:
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                self.repositories[repository][value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                self.repositories[repository][value["path"]] = self.large[value["oid"]]
        self.answer({"commitUrl": f"{self.here}/{repository}/commit/{COMMIT}", "commitOid": COMMIT, "hookOutput": ""})

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == f"/large/{sha256(content).hexdigest()}"
        self.large[sha256(content).hexdigest()] = content
        self.answer({})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        repository, _, rest = self.path.strip("/").partition("/resolve/")
        content = self.repositories.get(repository, {}).get(rest.partition("/")[2])
        if content is None:
            kind = "EntryNotFound" if repository in self.repositories else "RepoNotFound"
            self.answer({"error": "not found"}, 404, {"X-Error-Code": kind})
            return
        self.send_response(200)
        for header, value in {
            "Content-Length": str(len(content)),
            "ETag": f'"{sha1(content).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
        }.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    @property
    def here(self) -> str:
        return f"http://{self.headers['Host']}"

    def answer(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for header, text in {
            **(headers or {}),
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        }.items():
            self.send_header(header, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass

